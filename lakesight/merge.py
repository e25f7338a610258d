"""Spark glue: MERGE by key under the table's writer lock, with no commit where nothing changes.

Rows are compared without the column of image bytes, which is only joined in for rows that are written. New rows are
appended, which is what a MERGE does with rows that match nothing; it costs a third and moves no image bytes. The lock
makes the comparison and the append one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from lakesight.spark import IMAGE_LAYOUT, conf, quote, table_sql
from lakesight.tables import TABLES, Table
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WRITING = {
    # The narrow side of the join with image bytes is broadcast, so that the bytes are not shuffled.
    "spark.sql.autoBroadcastJoinThreshold": str(64 * 2**20),
    # Sources are files that stay as they are while they are read: no copy is needed.
    "spark.databricks.delta.merge.materializeSource": "none",
}


@dataclass(frozen=True)
class Change:
    """What a merge did, in rows."""

    added: int = 0
    updated: int = 0
    removed: int = 0


def merge(
    spark: "SparkSession",
    warehouse: Warehouse,
    name: str,
    rows: "DataFrame",
    *,
    dataset: str,
    compare: Sequence[str],
    content: "DataFrame | None" = None,
    sort_by: str | None = None,
    remove: bool = False,
) -> Change:
    """Make a table's rows of a data set equal `rows`, by key.

    Args:
        spark: the session.
        warehouse: where the table is.
        name: the table.
        rows: all its columns but the image bytes; the key is unique.
        dataset: only its rows are looked at.
        compare: a row is updated if one of these columns differs; none: rows never change.
        content: key columns and the image bytes; a row without bytes here keeps those it has.
        sort_by: order of new rows within their files.
        remove: delete rows of the data set that are not in `rows`.
    """
    table = TABLES[name]
    with warehouse.lock(name), conf(spark, WRITING | (IMAGE_LAYOUT if table.bytes_column else {})):
        target = spark.read.format("delta").load(str(warehouse.path(name))).where(f"dataset = {quote(dataset)}")
        change, diff = _diff(rows, target, table, compare, remove)
        if change.updated or change.removed:
            changed = diff.where("kind IN ('updated', 'removed')").join(rows, [*table.key], "left")
            _update(spark, warehouse, table, _with_bytes(changed, content, table, "left"))
        if change.added:
            # Not by way of `diff`: of an anti-join Spark knows the size, and so which side to broadcast.
            new = rows.join(target.select(*table.key), [*table.key], "left_anti")
            whole = _with_bytes(new, content, table, "inner").select(*table.arrow.names)
            whole = whole.sortWithinPartitions(sort_by) if sort_by else whole
            whole.write.format("delta").mode("append").save(str(warehouse.path(name)))
    return change


def _diff(
    rows: "DataFrame", target: "DataFrame", table: Table, compare: Sequence[str], remove: bool
) -> "tuple[Change, DataFrame]":
    """How many rows differ, and (key, kind) of those."""
    differs = " OR ".join(f"NOT ({_value(table, c, 'new')} <=> {_value(table, c, 'old')})" for c in compare) or "FALSE"
    kind = f"CASE WHEN old IS NULL THEN 'added' WHEN new IS NULL THEN 'removed' WHEN {differs} THEN 'updated' END"
    columns = ", ".join(dict.fromkeys([*table.key, *compare]))
    new = rows.selectExpr(*table.key, f"struct({columns}) AS new")
    old = target.selectExpr(*table.key, f"struct({columns}) AS old")
    joined = new.join(old, [*table.key], "full" if remove else "left")
    diff = joined.selectExpr(*table.key, f"{kind} AS kind").where("kind IS NOT NULL")
    counts = {row["kind"]: row["count"] for row in diff.groupBy("kind").count().collect()}
    return Change(counts.get("added", 0), counts.get("updated", 0), counts.get("removed", 0)), diff


def _value(table: Table, column: str, side: str) -> str:
    """Spark compares arrays but not maps."""
    is_map = pa.types.is_map(table.arrow.field(column).type)
    return f"map_entries({side}.{column})" if is_map else f"{side}.{column}"


def _with_bytes(rows: "DataFrame", content: "DataFrame | None", table: Table, how: str) -> "DataFrame":
    return rows if content is None else rows.join(content, [*table.key], how)


def _update(spark: "SparkSession", warehouse: Warehouse, table: Table, changed: "DataFrame") -> None:
    changed.createOrReplaceTempView("merge_source")
    on = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
    values = {column: f"s.{column}" for column in table.arrow.names if column not in table.key}
    if table.bytes_column:
        values[table.bytes_column] = f"coalesce(s.{table.bytes_column}, t.{table.bytes_column})"
    update = ", ".join(f"t.{column} = {value}" for column, value in values.items())
    spark.sql(
        f"MERGE INTO {table_sql(warehouse.path(table.name))} t USING merge_source s ON {on} "
        f"WHEN MATCHED AND s.kind = 'removed' THEN DELETE WHEN MATCHED THEN UPDATE SET {update}"
    )
