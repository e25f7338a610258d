"""Spark glue: files as a stream, each once; Auto Loader on Databricks, the file stream elsewhere."""

from typing import TYPE_CHECKING

from ingestion.read_images import MAX_FILE_BYTES
from lakesight.spark import on_databricks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FILE = "path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY"


def arriving(spark: "SparkSession", source: str, *, where: str) -> "DataFrame":
    """(path, modified_at, arrived_at, size_bytes, content) of the files under `source` that satisfy `where`."""
    reader = spark.readStream.schema(FILE).option("recursiveFileLookup", "true")
    if on_databricks():
        reader = reader.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    else:
        reader = reader.format("binaryFile")
    # As everywhere in the pipeline only `select`, `selectExpr` and `where`: what else there is resolves the tables
    # too early, and the second run would read the first one's rows.
    files = reader.load(source).where(f"length <= {MAX_FILE_BYTES} AND ({where})")
    return files.selectExpr(
        # Paths as records have them: /folder/file, without the scheme of a local or mounted disk.
        "regexp_replace(path, '^(file|dbfs):/*', '/') AS path",
        "modificationTime AS modified_at",
        "current_timestamp() AS arrived_at",
        "length AS size_bytes",
        "content",
    )
