"""Spark glue: a table's rows at a version, with the context columns the rules speak of.

Context is what a row cannot know by itself - whether its image exists, whether its id was used before, what looks like
it. Image bytes are never read. `refused_by` is NULL here: what a parser or decoder refused never reached a table.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakesight.sql import views
from lakesight.tables import TABLES, spark_type
from lakesight.warehouse import Warehouse
from quality.masks import FACTS, mask_facts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SOURCES = ("categories", "images", "image_properties", "annotations")
"""Tables with rules; each is checked against the others at the same pinned versions."""
CHECKED = (*SOURCES, "splits")
"""What rules are about: the tables, and the splits of each data set."""
PARTS = {"image_properties": ("near_duplicates",), "annotations": ("boxes", "twins"), "splits": ("split_drift",)}
"""Views whose SELECT is a part of a context - they too see the pinned versions - and queries of this module."""

_PASSED = "CAST(NULL AS STRING) AS refused_by, CAST(NULL AS STRING) AS refused_because, CAST(NULL AS STRING) AS record"
_QUERIES = {
    "categories": f"""
        SELECT c.dataset, c.category_id, c.name, c.run_id, coalesce(n.num_annotations, 0) AS num_annotations, {_PASSED},
          row_number() OVER (PARTITION BY c.dataset, c.category_id ORDER BY c.name) > 1 AS id_taken,
          lag(c.category_id) OVER (PARTITION BY c.dataset ORDER BY c.category_id) AS previous_id,
          count(*) OVER (PARTITION BY c.dataset, lower(trim(c.name))) AS num_same_name,
          max(n.num_annotations) OVER (PARTITION BY c.dataset) AS most_annotations
        FROM categories c LEFT JOIN (
          SELECT dataset, category_id, count(*) AS num_annotations FROM annotations GROUP BY ALL
        ) n ON c.dataset = n.dataset AND c.category_id = n.category_id""",
    "images": f"""
        SELECT i.dataset, i.image_id, i.file_name, i.width, i.height, i.pixel_hash, i.split, i.exif_orientation,
          i.format, i.mode, i.num_frames, i.run_id, i.width AS stated_width, i.height AS stated_height, {_PASSED},
          coalesce(n.num_annotations, 0) AS num_annotations,
          row_number() OVER (PARTITION BY i.dataset, i.image_id ORDER BY i.ingested_at) > 1 AS id_taken,
          nullif(min(i.image_id) OVER (PARTITION BY i.dataset, i.sha256), i.image_id) AS duplicate_of,
          nullif(min(i.image_id) OVER (PARTITION BY i.dataset, i.pixel_hash), i.image_id) AS same_pixels_as,
          size(collect_set(i.split) OVER (PARTITION BY i.pixel_hash)) AS num_splits,
          count(*) OVER (PARTITION BY i.dataset, i.split, i.file_name) AS num_same_name,
          CAST(NULL AS BINARY) AS content
        FROM images i LEFT JOIN (
          SELECT dataset, image_id, count(*) AS num_annotations FROM annotations GROUP BY ALL
        ) n ON i.dataset = n.dataset AND i.image_id = n.image_id""",
    "image_properties": """
        SELECT q.*, l.* EXCEPT (dataset, image_id)
        FROM image_properties q LEFT JOIN (
          SELECT dataset, image_id,
            min(distance) FILTER (WHERE earlier) AS near_distance,
            min_by(other_image_id, distance) FILTER (WHERE earlier) AS near_duplicate_of,
            min(distance) FILTER (WHERE other_split <> split) AS near_split_distance,
            min_by(concat('image ', other_image_id, ' of ', other_dataset, '/', other_split), distance)
              FILTER (WHERE other_split <> split) AS near_split
          FROM (SELECT *, other_dataset = dataset AND other_image_id < image_id AS earlier FROM near_duplicates)
          GROUP BY dataset, image_id
        ) l ON l.dataset = q.dataset AND l.image_id = q.image_id""",
    "annotations": f"""
        SELECT a.*, {_PASSED}, a.bbox IS NULL AS image_level,
          i.image_id IS NOT NULL AS image_known, i.width AS image_width, i.height AS image_height,
          c.category_id IS NOT NULL OR (a.category_id IS NULL AND a.bbox IS NULL) AS category_known,
          row_number() OVER (PARTITION BY a.dataset, a.annotation_id ORDER BY a.ingested_at) > 1 AS id_taken,
          size(c.keypoints) AS num_class_keypoints, t.twin_iou, t.twin_of
        FROM (SELECT *, mask_facts(segmentation) AS mask FROM annotations) a
        LEFT JOIN images i ON a.dataset = i.dataset AND a.image_id = i.image_id
        LEFT JOIN categories c ON a.dataset = c.dataset AND a.category_id = c.category_id
        LEFT JOIN twins t ON a.dataset = t.dataset AND a.annotation_id = t.annotation_id""",
    "splits": "SELECT * FROM split_drift",
}
_TWINS = """
    SELECT dataset, annotation_id, max(iou) AS twin_iou, max_by(other, iou) AS twin_of
    FROM (
      SELECT dataset, annotation_id, other, overlap / (area + other_area - overlap) AS iou
      FROM (
        SELECT b.dataset, b.annotation_id, a.annotation_id AS other, a.width * a.height AS other_area,
          b.width * b.height AS area,
          greatest(least(a.x + a.width, b.x + b.width) - greatest(a.x, b.x), 0)
            * greatest(least(a.y + a.height, b.y + b.height) - greatest(a.y, b.y), 0) AS overlap
        FROM boxes a JOIN boxes b
        ON a.dataset = b.dataset AND a.image_id = b.image_id AND a.category_id = b.category_id
          AND a.annotation_id < b.annotation_id
      )
    )
    WHERE iou > 0.5 GROUP BY dataset, annotation_id"""
"""The earlier box of the same class on the same image that a box overlaps most."""
_BOXES = """
    SELECT dataset, image_id, category_id, annotation_id,
      bbox[0] AS x, bbox[1] AS y, bbox[2] AS width, bbox[3] AS height
    FROM annotations WHERE size(bbox) = 4 AND bbox[2] > 0 AND bbox[3] > 0 AND coalesce(iscrowd, 0) = 0"""


def with_context(spark: "SparkSession", warehouse: Warehouse, versions: Mapping[str, int]) -> "dict[str, DataFrame]":
    """What is in `CHECKED`, at the tables' versions, with context columns."""
    from pyspark.sql.pandas.functions import arrow_udf

    # The stub asks for a number that the function itself advises against.
    udf = arrow_udf(mask_facts, spark_type(FACTS))  # type: ignore[call-overload]  # it takes DDL too
    spark.udf.register("mask_facts", udf)
    for name in SOURCES:
        table = spark.read.format("delta").option("versionAsOf", versions[name]).load(str(warehouse.path(name)))
        # Not what others have added: a context column may have its name.
        table.select(*TABLES[name].arrow.names).createOrReplaceTempView(f"checked_{name}")
    return {name: spark.sql(f"WITH {_pinned(PARTS.get(name, ()))}\n{query}") for name, query in _QUERIES.items()}


def _pinned(more: Sequence[str]) -> str:
    """The tables under their own names - here these are the pinned ones - and what else a query is made of."""
    parts = {name: f"SELECT * FROM checked_{name}" for name in SOURCES}
    known = views() | {"boxes": _BOXES, "twins": _TWINS}
    return ",\n".join(f"{name} AS (\n{text}\n)" for name, text in (parts | {n: known[n] for n in more}).items())
