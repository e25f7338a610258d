"""Spark glue: files as a stream, each once; Auto Loader on Databricks, the file stream elsewhere."""

from typing import TYPE_CHECKING

from ingestion.read_images import MAX_FILE_BYTES
from lakesight.errors import ConfigError
from lakesight.spark import on_databricks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FILE = "path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY"


def setting(spark: "SparkSession", name: str) -> str:
    """A value of the pipeline's configuration.

    Raises:
        ConfigError: it is not set.
    """
    value = spark.conf.get(f"lakesight.{name}", None)
    if value is None:
        raise ConfigError(
            f"the pipeline's configuration lacks lakesight.{name}",
            expected="lakesight.source: a folder of files; lakesight.dataset: the name of the data set",
            fix="add it to `configuration` of the pipeline",
        )
    return value


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
