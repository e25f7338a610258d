"""Declarative Pipelines (Spark): image files -> facts (a stream), records and facts -> images, ... (sets)."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from lakesight.tables import TABLES
from pipelines import parsing, queries
from pipelines.functions import struct_of
from pipelines.rules import accept

spark = SparkSession.active()


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
