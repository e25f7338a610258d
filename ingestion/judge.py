"""Spark glue: parsed records + decoded files + what the tables hold -> records with every rule they break.

One query a table over the run's staging files; each writes the table's columns (image bytes apart) and `errors`,
empty for a record that is accepted. What the rules mean by an id that is *taken*:

* the first record of a file with an id has it; later ones are refused;
* an image whose id the data set holds is an update if it is the same file (same place or same bytes), else refused;
* an annotation whose id the data set holds is an update if it is on the same image, else refused.

So a file may be corrected and ingested again, and two files of one data set cannot overwrite each other's records.
Of images with the same pixels the one the data set holds stays, else the one with the lowest id.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lakesight.spark import quote
from lakesight.tables import TABLES
from quality.rules import errors_sql, refusing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RECORDS = ("images", "annotations", "categories")

_IMAGES = """
WITH facts AS (
  SELECT r.* EXCEPT (refused_by, refused_because), d.sha256, d.size_bytes,
    coalesce(d.pixel_hash, h.pixel_hash) AS pixel_hash, coalesce(d.format, h.format) AS format,
    coalesce(d.mode, h.mode) AS mode, coalesce(d.width, h.width) AS width, coalesce(d.height, h.height) AS height,
    coalesce(d.exif_orientation, h.exif_orientation) AS exif_orientation,
    CASE WHEN r.refused_by IS NOT NULL THEN r.refused_by WHEN d.unreadable IS NOT NULL THEN 'image_file_exists'
      WHEN d.undecodable IS NOT NULL THEN 'image_decodes' END AS refused_by,
    coalesce(r.refused_because, d.unreadable, d.undecodable) AS refused_because,
    r.image_id IS NOT NULL AND row_number() OVER (PARTITION BY r.image_id ORDER BY r.ordinal) > 1
      OR coalesce(h.sha256 <> d.sha256 AND h.source_uri <> r.source_uri, FALSE) AS id_taken,
    coalesce(h.pixel_hash = coalesce(d.pixel_hash, h.pixel_hash), FALSE) AS held
  FROM record_images r LEFT JOIN decoded d ON r.ordinal = d.ordinal
  LEFT JOIN held_images h ON r.image_id = h.image_id
), fit AS (
  SELECT pixel_hash, image_id, held FROM facts WHERE refused_by IS NULL AND NOT id_taken
), keepers AS (
  SELECT pixel_hash, min_by(image_id, struct(NOT held, image_id)) AS keeper FROM (
    SELECT * FROM fit
    UNION ALL SELECT pixel_hash, image_id, TRUE FROM held_images h LEFT ANTI JOIN fit f ON h.image_id = f.image_id)
  GROUP BY pixel_hash
)
SELECT f.*, CASE WHEN NOT f.id_taken AND k.keeper <> f.image_id THEN k.keeper END AS duplicate_of,
  CAST(NULL AS BINARY) AS content
FROM facts f LEFT JOIN keepers k ON f.pixel_hash = k.pixel_hash"""
_CATEGORIES = """
SELECT *, category_id IS NOT NULL AND row_number() OVER (PARTITION BY category_id ORDER BY ordinal) > 1 AS id_taken
FROM record_categories"""
_ANNOTATIONS = """
SELECT r.*, i.image_id IS NOT NULL OR r.image_id IS NULL AS image_known, i.width AS image_width,
  i.height AS image_height, c.category_id IS NOT NULL OR r.annotation_id IS NULL AS category_known,
  r.annotation_id IS NOT NULL AND row_number() OVER (PARTITION BY r.annotation_id ORDER BY r.ordinal) > 1
    OR coalesce(h.image_id <> r.image_id, FALSE) AS id_taken
FROM record_annotations r
LEFT JOIN (SELECT image_id, width, height FROM judged_images WHERE size(errors) = 0) i ON r.image_id = i.image_id
LEFT JOIN (SELECT category_id FROM judged_categories WHERE size(errors) = 0) c ON r.category_id = c.category_id
LEFT JOIN held_annotations h ON r.annotation_id = h.annotation_id"""


def judge(spark: "SparkSession", folder: Path) -> None:
    """Staged `record_*`, `decoded` and `held_*` files -> `judged_images`, `judged_categories`, `judged_annotations`."""
    for source in (*(f"record_{name}" for name in RECORDS), "decoded", "held_images", "held_annotations"):
        spark.read.parquet(str(folder / source)).createOrReplaceTempView(source)
    # In this order: annotations are judged by what was accepted of the other two.
    for name, context in (("categories", _CATEGORIES), ("images", _IMAGES), ("annotations", _ANNOTATIONS)):
        target = folder / f"judged_{name}"
        spark.sql(f"SELECT *, {errors_sql(refusing(name))} AS errors FROM ({context})").write.parquet(str(target))
        spark.read.parquet(str(target)).createOrReplaceTempView(f"judged_{name}")


def refused_sql(name: str, dataset: str, source_uri: str) -> str:
    """Spark SQL of `quarantine` rows, but run and time, for the judged records of a table that were refused."""
    columns = [c.name for c in TABLES[name].columns if c.name not in _NOT_IN_RECORDS]
    record = f"coalesce(record, to_json(struct({', '.join(columns)})))"
    rules = "concat_ws(',', transform(errors, e -> e.rule))"
    key = ", ".join([quote(dataset), quote(name), "record", rules])
    return f"""
SELECT DISTINCT {quote(dataset)} AS dataset, {quote(name)} AS table_name, {quote(source_uri)} AS source_uri, record,
  sha2(concat_ws('\\n', {key}), 256) AS record_hash, errors
FROM (SELECT {record} AS record, errors FROM judged_{name} WHERE size(errors) > 0)"""


_NOT_IN_RECORDS = {"dataset", "ingested_at", "run_id", "content", "label"}
