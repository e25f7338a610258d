"""Spark glue: which images a condition or a SELECT names."""

import pyarrow.compute as pc

from lakesight.errors import UserError
from lakesight.progress import step
from lakesight.sections import SparkConfig
from lakesight.spark import quote, session, table_sql
from lakesight.sql import query
from lakesight.warehouse import Warehouse


def chosen_ids(
    warehouse: Warehouse,
    config: SparkConfig,
    dataset: str,
    table: str,
    version: int,
    where: str | None,
    sql: str | None,
) -> list[int] | None:
    """`image_id`s; None: no choice was made. `where` is asked of `table` at `version`, `sql` of any table as it is.

    Raises:
        UserError: both are given, or Spark refuses them, or `sql` has no column `image_id`.
    """
    if where is None and sql is None:
        return None
    if where is not None and sql is not None:
        raise UserError("--where and --sql are two ways of choosing images", fix="give one of them")
    with step("Starting Spark"):
        spark = session(warehouse, config)
    if sql is None:
        rows_of_version = f"{table_sql(warehouse.path(table))} VERSION AS OF {version}"
        sql = f"SELECT dataset, image_id FROM {rows_of_version} WHERE dataset = {quote(dataset)} AND ({where})"
    rows = query(warehouse, spark, sql)
    if "image_id" not in rows.column_names:
        raise UserError(
            "--sql must select images",
            where=f"its columns are {', '.join(rows.column_names)}",
            expected="SELECT dataset, image_id FROM ...",
        )
    if "dataset" in rows.column_names:
        rows = rows.filter(pc.equal(rows["dataset"], dataset))
    found: list[int] = rows["image_id"].drop_null().unique().to_pylist()
    return found
