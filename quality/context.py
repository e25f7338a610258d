"""Spark glue: a table's rows at a version, with the context columns the rules speak of.

Context is what a row cannot know by itself - whether its image exists, whether its id was used before. Image bytes
are never read. `refused_by` is NULL here: what a parser or decoder refused never reached a table.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SOURCES = ("categories", "images", "image_properties", "annotations")
"""Tables with rules; each is checked against the others at the same pinned versions."""

_PASSED = "CAST(NULL AS STRING) AS refused_by, CAST(NULL AS STRING) AS refused_because"
_QUERIES = {
    "categories": f"""
        SELECT c.dataset, c.category_id, c.name, coalesce(n.num_annotations, 0) AS num_annotations, {_PASSED},
          row_number() OVER (PARTITION BY c.dataset, c.category_id ORDER BY c.name) > 1 AS id_taken,
          CAST(NULL AS STRING) AS record
        FROM checked_categories c LEFT JOIN (
          SELECT dataset, category_id, count(*) AS num_annotations FROM checked_annotations GROUP BY ALL
        ) n ON c.dataset = n.dataset AND c.category_id = n.category_id""",
    "images": f"""
        SELECT i.dataset, i.image_id, i.file_name, i.width, i.height, i.pixel_hash, i.split, i.exif_orientation,
          i.width AS stated_width, i.height AS stated_height, {_PASSED},
          coalesce(n.num_annotations, 0) AS num_annotations,
          row_number() OVER (PARTITION BY i.dataset, i.image_id ORDER BY i.ingested_at) > 1 AS id_taken,
          nullif(min(i.image_id) OVER (PARTITION BY i.dataset, i.pixel_hash), i.image_id) AS duplicate_of,
          size(collect_set(i.split) OVER (PARTITION BY i.pixel_hash)) AS num_splits,
          CAST(NULL AS STRING) AS record, CAST(NULL AS BINARY) AS content
        FROM checked_images i LEFT JOIN (
          SELECT dataset, image_id, count(*) AS num_annotations FROM checked_annotations GROUP BY ALL
        ) n ON i.dataset = n.dataset AND i.image_id = n.image_id""",
    "image_properties": "SELECT * FROM checked_image_properties",
    "annotations": f"""
        SELECT a.*, {_PASSED}, CAST(NULL AS STRING) AS record, a.bbox IS NULL AS image_level,
          i.image_id IS NOT NULL AS image_known, i.width AS image_width, i.height AS image_height,
          c.category_id IS NOT NULL OR (a.category_id IS NULL AND a.bbox IS NULL) AS category_known,
          row_number() OVER (PARTITION BY a.dataset, a.annotation_id ORDER BY a.ingested_at) > 1 AS id_taken
        FROM checked_annotations a
        LEFT JOIN checked_images i ON a.dataset = i.dataset AND a.image_id = i.image_id
        LEFT JOIN checked_categories c ON a.dataset = c.dataset AND a.category_id = c.category_id""",
}


def with_context(spark: "SparkSession", warehouse: Warehouse, versions: Mapping[str, int]) -> "dict[str, DataFrame]":
    """Each table of `SOURCES` at its version, with context columns."""
    for name in SOURCES:
        table = spark.read.format("delta").option("versionAsOf", versions[name]).load(str(warehouse.path(name)))
        table.createOrReplaceTempView(f"checked_{name}")
    return {name: spark.sql(query) for name, query in _QUERIES.items()}
