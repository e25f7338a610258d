"""Declarative Pipelines (Spark): what analysts ask, kept as tables; the SQL is that of `dashboards/views`."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from lakesight.sql import views

spark = SparkSession.active()


@dp.materialized_view(comment="One row a class and split")
def class_balance() -> DataFrame:
    return spark.sql(views()["class_balance"])


@dp.materialized_view(comment="One row an image with what its pixels say")
def image_quality() -> DataFrame:
    return spark.sql(views()["image_quality"])


@dp.materialized_view(comment="One row a refused record and reason")
def quarantine_reasons() -> DataFrame:
    return spark.sql(views()["quarantine_reasons"])
