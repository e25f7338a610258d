"""Declarative Pipelines (Spark): files -> records and facts (streams) -> images, annotations, ... (sets)."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakesight.tables import TABLES
from pipelines import parsing, queries
from pipelines.arrivals import setting
from pipelines.functions import rows_of, struct_of
from pipelines.rules import accept

spark = SparkSession.active()
SOURCE = F.lit(setting(spark, "source"))
DATASET = F.lit(setting(spark, "dataset"))
FILE = "struct(arrived_at, modified_at, path)"


def _records(rows: Column) -> DataFrame:
    """The records of each annotation file, with `place`: where each stands in all that ever came."""
    files = spark.readStream.table("annotation_files")
    records = files.select("path", "modified_at", "arrived_at", DATASET.alias("dataset"), F.explode(rows).alias("row"))
    return records.selectExpr(
        "row.*", "dataset", "arrived_at", f"struct({FILE} AS file, row.ordinal AS ordinal) AS place"
    )


@dp.table(comment="Image records of COCO files")
def image_records() -> DataFrame:
    return _records(rows_of(parsing.image_rows, parsing.IMAGE_ROWS)("path", "content", SOURCE, DATASET))


@dp.table(comment="Annotation records of COCO files")
def annotation_records() -> DataFrame:
    return _records(rows_of(parsing.annotation_rows, parsing.ANNOTATION_ROWS)("path", "content"))


@dp.table(comment="Category records of COCO files")
def category_records() -> DataFrame:
    return _records(rows_of(parsing.category_rows, parsing.CATEGORY_ROWS)("path", "content"))


@dp.table(comment="What the bytes of an image file say, or why they do not decode")
def image_facts() -> DataFrame:
    found = struct_of(parsing.image_facts, parsing.FACTS)("content")
    return spark.readStream.table("image_files").select("path", found.alias("found")).selectExpr("path", "found.*")


@dp.materialized_view(comment="Image records with all that the rules speak of")
def images_candidates() -> DataFrame:
    return spark.sql(queries.CANDIDATES["images"])


@dp.materialized_view(comment="Category records with all that the rules speak of")
def categories_candidates() -> DataFrame:
    return spark.sql(queries.CANDIDATES["categories"])


@dp.materialized_view(comment="Annotation records with all that the rules speak of")
def annotations_candidates() -> DataFrame:
    return spark.sql(queries.CANDIDATES["annotations"])


@dp.temporary_view
@accept(dp, "images")
def images_accepted() -> DataFrame:
    return spark.read.table("images_candidates")


@dp.temporary_view
@accept(dp, "categories")
def categories_accepted() -> DataFrame:
    return spark.read.table("categories_candidates")


@dp.temporary_view
@accept(dp, "annotations")
def annotations_accepted() -> DataFrame:
    return spark.read.table("annotations_candidates")


@dp.materialized_view(schema=TABLES["images"].ddl, comment="One row is an image; its bytes are in image_files")
def images() -> DataFrame:
    return spark.sql(queries.TABLE_QUERIES["images"])


@dp.materialized_view(schema=TABLES["image_properties"].ddl)
def image_properties() -> DataFrame:
    return spark.sql(queries.TABLE_QUERIES["image_properties"])


@dp.materialized_view(schema=TABLES["categories"].ddl)
def categories() -> DataFrame:
    return spark.sql(queries.TABLE_QUERIES["categories"])


@dp.materialized_view(schema=TABLES["annotations"].ddl)
def annotations() -> DataFrame:
    return spark.sql(queries.TABLE_QUERIES["annotations"])


@dp.materialized_view(schema=TABLES["quarantine"].ddl, comment="Every refused record with every reason")
def quarantine() -> DataFrame:
    return spark.sql(queries.quarantined())
