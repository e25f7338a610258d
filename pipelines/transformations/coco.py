"""Declarative Pipelines (Spark): COCO files -> image_records, annotation_records, category_records (streams)."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import parsing
from pipelines.arrivals import settings
from pipelines.functions import rows_of

spark = SparkSession.active()
SET = settings(spark)
DATASET = F.lit(SET.dataset)
FILE = "struct(arrived_at, modified_at, path)"


def _records(rows: Column) -> DataFrame:
    """The records of each annotation file, with `place`: where each stands in all that ever came."""
    files = spark.readStream.table("annotation_files")
    records = files.select("path", "modified_at", "arrived_at", DATASET.alias("dataset"), F.explode(rows).alias("row"))
    return records.selectExpr(
        "row.*", "dataset", "path AS source", "arrived_at", f"struct({FILE} AS file, row.ordinal AS ordinal) AS place"
    )


if SET.format == "coco":

    @dp.table(comment="Image records of COCO files")
    def image_records() -> DataFrame:
        rows = rows_of(parsing.image_rows, parsing.IMAGE_ROWS)
        return _records(rows("path", "content", F.lit(str(SET.source)), DATASET))

    @dp.table(comment="Annotation records of COCO files")
    def annotation_records() -> DataFrame:
        return _records(rows_of(parsing.annotation_rows, parsing.ANNOTATION_ROWS)("path", "content"))

    @dp.table(comment="Category records of COCO files")
    def category_records() -> DataFrame:
        return _records(rows_of(parsing.category_rows, parsing.CATEGORY_ROWS)("path", "content"))
