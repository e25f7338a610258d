"""MERGE by key under the table's writer lock, with no commit where nothing changes.

Narrow tables go through delta-rs (Arrow in, some 50 ms). Tables with image bytes go through Spark, which never holds
them whole: rows are compared without the bytes, and these are only joined in for rows that are written. New rows are
appended, which is what a MERGE does with rows that match nothing; the lock makes comparison and append one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from lakesight import delta
from lakesight.snapshot import plan_table, span
from lakesight.spark import IMAGE_LAYOUT, conf, quote, table_sql
from lakesight.tables import TABLES, Table
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WRITING = IMAGE_LAYOUT | {
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


def merge_arrow(
    warehouse: Warehouse,
    name: str,
    rows: pa.Table,
    *,
    compare: Sequence[str],
    keep: Sequence[str] = (),
    remove: pa.Table | None = None,
) -> Change:
    """Add or update `rows`, whose key is unique, by key; a row that equals its own in `compare` is left alone.

    `keep`: columns whose NULL means "not stated": what the table holds there stays. `remove`: keys of rows that go,
    in the same commit.
    """
    table = TABLES[name]
    gone = _keys_only(table, remove)
    if rows.num_rows + gone.num_rows == 0:
        return Change()
    stated = rows.select(table.arrow.names).cast(table.arrow).append_column("gone", pa.repeat(False, rows.num_rows))
    source = pa.concat_tables([stated.cast(gone.schema), gone])
    keys = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
    differs = " OR ".join(_differs(column, column in keep) for column in compare) or "FALSE"
    values = {c: f"coalesce(s.{c}, t.{c})" if c in keep else f"s.{c}" for c in table.arrow.names}
    with warehouse.lock(name):
        handle = delta.open_table(warehouse, name)
        if gone.num_rows == 0 and not _any_held(handle, table, rows):
            delta.append(handle, name, [rows])
            return Change(added=rows.num_rows)
        done = (
            handle.merge(
                source,
                keys,
                source_alias="s",
                target_alias="t",
                writer_properties=delta.writer_properties(table),
            )
            .when_matched_delete(predicate="s.gone")
            .when_matched_update(values, predicate=f"NOT s.gone AND ({differs})")
            .when_not_matched_insert({c: f"s.{c}" for c in table.arrow.names}, predicate="NOT s.gone")
            .execute()
        )
    return Change(done["num_target_rows_inserted"], done["num_target_rows_updated"], done["num_target_rows_deleted"])


def _any_held(handle: DeltaTable, table: Table, rows: pa.Table) -> bool:
    """Whether the table has any of the keys: without one a MERGE is an append, which need not read the table.

    A row group at a time, so that memory does not grow with the table; what statistics exclude is not read.
    """
    ranges = dict(ends for column in table.key for ends in span(column, rows[column]).items())
    plan = plan_table(handle, table.name, ranges)
    units = [unit for unit in plan.units if all(unit.may_hold(column, *ends) for column, ends in ranges.items())]
    if not units:
        return False
    # Column by column first, which leaves next to nothing for the join of whole keys.
    each = [pc.field(column).isin(pc.unique(rows[column]).cast(table.arrow.field(column).type)) for column in table.key]
    near = replace(plan, units=tuple(units)).parts(table.key, reduce(and_, each))
    keys = rows.select(table.key)
    return any(keys.cast(part.schema).join(part, list(table.key), join_type="left semi").num_rows for part in near)


def _keys_only(table: Table, keys: pa.Table | None) -> pa.Table:
    """Rows to remove as rows of the source: all but the key is NULL."""
    schema = pa.schema([field.with_nullable(True) for field in table.arrow])
    rows = 0 if keys is None else keys.num_rows
    columns = [
        keys[f.name].cast(f.type) if keys is not None and f.name in table.key else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema).append_column("gone", pa.repeat(True, rows))


def _differs(column: str, keep: bool) -> str:
    differs = f"s.{column} IS DISTINCT FROM t.{column}"
    return f"(s.{column} IS NOT NULL AND {differs})" if keep else f"({differs})"


def merge_dataset(
    spark: "SparkSession",
    warehouse: Warehouse,
    name: str,
    rows: "DataFrame",
    content: "DataFrame",
    *,
    dataset: str,
    compare: str,
    sort_by: str,
) -> Change:
    """Make a data set's rows of a table with image bytes equal `rows`: add, update where `compare` differs, remove.

    `rows` are all columns but the bytes, from files; `content` is key and bytes. New files are sorted by `sort_by`.
    """
    table = TABLES[name]
    with warehouse.lock(name):
        target = spark.read.format("delta").load(str(warehouse.path(name))).where(f"dataset = {quote(dataset)}")
        new = rows.selectExpr(*table.key, f"{compare} AS new")
        old = target.selectExpr(*table.key, f"{compare} AS old")
        kind = "CASE WHEN old IS NULL THEN 'added' WHEN new IS NULL THEN 'removed' WHEN old <> new THEN 'updated' END"
        diff = new.join(old, [*table.key], "full").selectExpr(*table.key, f"{kind} AS kind").where("kind IS NOT NULL")
        counts = {row["kind"]: row["count"] for row in diff.groupBy("kind").count().collect()}
        change = Change(counts.get("added", 0), counts.get("updated", 0), counts.get("removed", 0))
        if change.updated or change.removed:
            changed = diff.where("kind <> 'added'").join(rows, [*table.key], "left")
            update(spark, warehouse, table, changed.join(content, [*table.key], "left"))
        if change.added:
            # Not by way of `diff`: of an anti-join Spark knows the size, and so which side to broadcast.
            added = rows.join(target.select(*table.key), [*table.key], "left_anti")
            append(spark, warehouse, table, added.join(content, [*table.key]), sort_by=sort_by)
    return change


def append(spark: "SparkSession", warehouse: Warehouse, table: Table, rows: "DataFrame", *, sort_by: str) -> None:
    """Append whole rows, each file sorted; the caller holds the lock and knows that they are new."""
    with conf(spark, WRITING):
        ordered = rows.select(*table.arrow.names).sortWithinPartitions(sort_by)
        ordered.write.format("delta").mode("append").save(str(warehouse.path(table.name)))


def update(spark: "SparkSession", warehouse: Warehouse, table: Table, rows: "DataFrame") -> None:
    """MERGE rows that are there: `kind` is 'removed' or 'updated'; NULL bytes leave those of the same `sha256`."""
    rows.createOrReplaceTempView("merge_source")
    on = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
    values = {column: f"s.{column}" for column in table.arrow.names if column not in table.key}
    if table.bytes_column:
        held = f"CASE WHEN s.sha256 = t.sha256 THEN t.{table.bytes_column} END"
        values[table.bytes_column] = f"coalesce(s.{table.bytes_column}, {held})"
    assignments = ", ".join(f"t.{column} = {value}" for column, value in values.items())
    with conf(spark, WRITING):
        spark.sql(
            f"MERGE INTO {table_sql(warehouse.path(table.name))} t USING merge_source s ON {on} "
            f"WHEN MATCHED AND s.kind = 'removed' THEN DELETE WHEN MATCHED THEN UPDATE SET {assignments}"
        )
