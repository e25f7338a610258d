"""Declarative Pipelines (Spark): files as they came, each once -> annotation_files, image_files."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from pipelines.arrivals import arriving, setting

spark = SparkSession.active()
SOURCE = setting(spark, "source")
IS_JSON = "lower(path) LIKE '%.json'"


@dp.table(comment="COCO files as they came")
def annotation_files() -> DataFrame:
    return arriving(spark, SOURCE, where=IS_JSON)


@dp.table(comment="All other files as they came: the images' bytes are here, and only here")
def image_files() -> DataFrame:
    return arriving(spark, SOURCE, where=f"NOT ({IS_JSON})")
