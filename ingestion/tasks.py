"""Spark glue: a Python function over Arrow rows in Spark tasks, in and out by way of files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from lakesight.sections import SparkConfig
from lakesight.spark import conf, session
from lakesight.staging import staging
from lakesight.tables import spark_type
from lakesight.warehouse import create_warehouse, new_run_id

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS_PER_TASK = 500
"""Rows, each some milliseconds of work, that a task has. Fewer where there would be fewer tasks than cores."""
Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
InTasks = Callable[[pa.Table, Work, pa.Schema], pa.Table]
"""What `Work` makes of rows: a table of the schema, in any order."""


def tasks_of(root: Path, config: SparkConfig) -> InTasks:
    """Tasks of the session over a root; it is started when there is something for it to do."""

    def run(rows: pa.Table, work: Work, schema: pa.Schema) -> pa.Table:
        warehouse = create_warehouse(root)
        with staging(warehouse, new_run_id("read")) as folder:
            return in_tasks(session(warehouse, config), rows, work, schema, folder)

    return run


def in_tasks(spark: "SparkSession", rows: pa.Table, work: Work, schema: pa.Schema, folder: Path) -> pa.Table:
    """What `work` makes of `rows`: a table of `schema`. `folder` is there, and has room for files in between."""
    requests, results = folder / "requests", folder / "results"
    requests.mkdir()
    cores = int(spark.conf.get("spark.sql.shuffle.partitions") or 2)
    size = min(ROWS_PER_TASK, max(-(-rows.num_rows // (2 * cores)), 1))
    for start in range(0, max(rows.num_rows, 1), size):
        pq.write_table(rows.slice(start, size), requests / f"part-{start:09d}.parquet")
    # A task a file: Spark would else put several in one, and leave cores idle.
    whole_task = {"spark.sql.files.openCostInBytes": spark.conf.get("spark.sql.files.maxPartitionBytes") or "128m"}
    with conf(spark, whole_task):
        asked = spark.read.schema(ddl(rows.schema)).parquet(str(requests))
        asked.mapInArrow(work, ddl(schema)).write.parquet(str(results))
    return pq.read_table(results).cast(schema)


def ddl(schema: pa.Schema) -> str:
    """Spark's name of an Arrow schema."""
    return ", ".join(f"`{field.name}` {spark_type(field.type)}" for field in schema)
