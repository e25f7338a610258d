"""Declarative Pipelines (Spark): VOC or YOLO files -> image_records, annotation_records, category_records (sets).

Which image a file is about depends on all files. So each is read once, but parsed with each update.
"""

from functools import partial

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ingestion.formats.voc_splits import ranked, set_files, stems_in
from pipelines import labelled, records, voc, yolo
from pipelines.arrivals import PATH, settings
from pipelines.functions import Function, rows_of, struct_of, texts_of

spark = SparkSession.active()
SET = settings(spark)


def _label_rows(files: str, found: Function, *columns: str) -> DataFrame:
    return spark.sql(files).select("path", "labelled_at", "came_at", "arrived_at", found(*columns).alias("found"))


if SET.format == "voc":
    SOURCE = SET.source
    SETS = set_files(SOURCE, ())

    @dp.materialized_view(comment="What ImageSets/Main says now: a row a line")
    def image_set_stems() -> DataFrame:
        if not SETS:
            return spark.sql("SELECT '' AS split, '' AS stem WHERE FALSE")
        split = F.expr(f"regexp_extract({PATH}, '([^/]+)[.]txt$', 1)").alias("split")
        files = spark.read.format("binaryFile").load([str(file) for file in SETS])
        return files.select(split, F.explode(texts_of(stems_in)("content")).alias("stem"))

    @dp.temporary_view
    def image_sets() -> DataFrame:
        return spark.sql(voc.splits(ranked(file.stem for file in SETS)))

    @dp.materialized_view(comment="A row an XML file or an image without: the records in it")
    def label_rows() -> DataFrame:
        images, pixel = str(SOURCE / "JPEGImages"), SET.first_pixel
        rows = partial(labelled.voc_rows, folder=images, dataset=SET.dataset, first_pixel=pixel)
        found = struct_of(rows, labelled.FOUND)
        return _label_rows(voc.label_files(SOURCE), found, "labels", "content", "images", "split")

    @dp.temporary_view
    def category_names() -> DataFrame:
        return spark.sql(voc.CATEGORIES)


if SET.format == "yolo":
    SOURCE, DATA = yolo.read_data(SET.source)
    LISTS = yolo.lists_of(DATA)

    @dp.materialized_view(comment="What lists of images say now: a row a line")
    def list_lines() -> DataFrame:
        if not LISTS:
            return spark.sql("SELECT '' AS path, '' AS name, '' AS because WHERE FALSE")
        lines = rows_of(partial(labelled.list_rows, folder=str(DATA.root)), labelled.LISTED)
        files = spark.read.format("binaryFile").load([str(place) for place in LISTS])
        found = F.explode(lines(F.expr(PATH), "content")).alias("line")
        return files.select(F.expr(f"{PATH} AS path"), found).selectExpr("path", "line.*")

    @dp.materialized_view(comment="A row an image or a label file without: the records in it")
    def label_rows() -> DataFrame:
        root, shape = str(DATA.root), DATA.kpt_shape
        rows = partial(labelled.yolo_rows, folder=root, dataset=SET.dataset, kpt_shape=shape)
        found = struct_of(rows, labelled.FOUND)
        files = yolo.label_files(DATA.root, DATA.places)
        return _label_rows(files, found, "image", "labels", "content", "split", "width", "height", "because")

    @dp.temporary_view
    def category_names() -> DataFrame:
        return spark.sql(yolo.categories(DATA.names))


if SET.format != "coco":

    @dp.materialized_view(comment="Image records of the data set")
    def image_records() -> DataFrame:
        return spark.sql(records.images(SET.dataset, SOURCE))

    @dp.materialized_view(comment="Annotation records of the data set")
    def annotation_records() -> DataFrame:
        return spark.sql(records.annotations(SET.dataset, SOURCE))

    @dp.materialized_view(comment="Category records of the data set")
    def category_records() -> DataFrame:
        return spark.sql(records.categories(SET.dataset, SOURCE))
