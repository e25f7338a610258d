"""Declarative Pipelines (Spark): files as they came, each once -> annotation_files, image_files."""

from datetime import UTC, datetime

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from pipelines.arrivals import arriving, is_image, is_labels, settings

spark = SparkSession.active()
SET = settings(spark)
STARTED = datetime.now(UTC)
"""One moment an update, for both streams: it names the run."""


@dp.table(comment="Annotation files as they came")
def annotation_files() -> DataFrame:
    return arriving(spark, SET.source, at=STARTED, where=is_labels(SET.format))


@dp.table(comment="Images as they came: their bytes are here, and only here")
def image_files() -> DataFrame:
    return arriving(spark, SET.source, at=STARTED, where=is_image(SET.format))
