"""What the sets of the silver layer are, as Spark SQL over the datasets of the pipeline (pure).

The counterpart of `ingestion/candidates.py`, where an id or pixels that are *taken* is explained. There the tables
hold what came before; here all that ever came is looked at, in the order of `place`: the update it came with,
then the file's time, path and order. `source` is what states a record, and what `quarantine` names: a COCO file, or the
whole of a VOC or YOLO data set.
"""

from collections.abc import Mapping

from lakesight.tables import TABLES
from pipelines.rules import accepts
from quality.rules import errors_sql, refusing

STAMP = "date_format(arrived_at, \"'pipeline-'yyyyMMdd'T'HHmmss\")"

IMAGE_CANDIDATES = f"""
WITH found AS (
  SELECT r.* EXCEPT (refused_by, refused_because), f.* EXCEPT (path, undecodable),
    r.repeated AS id_taken, CAST(NULL AS BIGINT) AS duplicate_of, CAST(NULL AS BINARY) AS content,
    coalesce(r.refused_by, CASE WHEN f.path IS NULL THEN 'image_file_exists'
                                WHEN f.undecodable IS NOT NULL THEN 'image_decodes' END) AS refused_by,
    coalesce(r.refused_because, f.undecodable, IF(f.path IS NULL, concat(r.source_uri, ': no such file'), NULL))
      AS refused_because
  FROM image_records r LEFT JOIN image_facts f ON f.path = r.source_uri
), held AS (
  SELECT *, min_by(struct(source_uri, sha256), IF({accepts("images")}, place, NULL))
    OVER (PARTITION BY dataset, image_id) AS holder
  FROM found
), identified AS (
  SELECT * EXCEPT (holder, id_taken),
    id_taken OR coalesce(sha256 <> holder.sha256 AND source_uri <> holder.source_uri, FALSE) AS id_taken
  FROM held
), kept AS (
  SELECT *, min_by(image_id, IF(refused_by IS NULL AND NOT id_taken, struct(place.file, image_id), NULL))
    OVER (PARTITION BY dataset, sha256) AS keeper
  FROM identified
)
SELECT * EXCEPT (keeper, duplicate_of), IF(NOT id_taken AND keeper <> image_id, keeper, NULL) AS duplicate_of FROM kept
"""

CATEGORY_CANDIDATES = """
WITH held AS (
  SELECT *, min_by(name, IF(refused_by IS NULL AND NOT repeated, place, NULL))
    OVER (PARTITION BY dataset, category_id) AS holder
  FROM category_records
)
SELECT * EXCEPT (holder), repeated OR coalesce(name <> holder, FALSE) AS id_taken FROM held
"""

ANNOTATION_CANDIDATES = f"""
WITH known AS (
  SELECT a.*, a.repeated AS id_taken, i.width AS image_width, i.height AS image_height,
    a.annotation_id IS NULL OR i.image_id IS NOT NULL AS image_known,
    a.annotation_id IS NULL OR (coalesce(a.image_level, FALSE) AND a.category_id IS NULL)
      OR c.category_id IS NOT NULL AS category_known
  FROM annotation_records a
  LEFT JOIN images_accepted i ON i.source = a.source AND i.image_id = a.image_id
  LEFT JOIN categories_accepted c ON c.source = a.source AND c.category_id = a.category_id
), held AS (
  SELECT *, min_by(image_id, IF({accepts("annotations")}, place, NULL))
    OVER (PARTITION BY dataset, annotation_id) AS holder
  FROM known
)
SELECT * EXCEPT (holder, id_taken), id_taken OR coalesce(image_id <> holder, FALSE) AS id_taken FROM held
"""

NOT_STATED = {"dataset", "ingested_at", "run_id", "content", "label"}
"""Columns that no file states: they are no part of a refused record."""
CANDIDATES = {"images": IMAGE_CANDIDATES, "categories": CATEGORY_CANDIDATES, "annotations": ANNOTATION_CANDIDATES}


def latest(name: str, given: Mapping[str, str] | None = None, *, source: str = "") -> str:
    """A table of the contract from `<source>_accepted`: of each key the row that came last; `given`: column -> SQL."""
    key = ", ".join(TABLES[name].key)
    values = {"ingested_at": "arrived_at", "computed_at": "arrived_at", "run_id": STAMP, **(given or {})}
    columns = ", ".join(f"{values[c]} AS {c}" if c in values else c for c in TABLES[name].arrow.names)
    last = f"row_number() OVER (PARTITION BY {key} ORDER BY place DESC) = 1"
    return f"SELECT {columns} FROM {source or name}_accepted QUALIFY {last}"


def _stated(key: str, *columns: str) -> dict[str, str]:
    """NULL is "not stated" in these columns - a keypoints file states more than an instances file: the last that is."""
    return {c: f"max_by({c}, IF({c} IS NULL, NULL, place)) OVER (PARTITION BY dataset, {key})" for c in columns}


LABEL = {"label": "CAST(dense_rank() OVER (PARTITION BY dataset ORDER BY category_id) - 1 AS INT)"}
TABLE_QUERIES = {
    "images": latest("images"),
    "image_properties": latest("image_properties", source="images"),
    "categories": latest("categories", LABEL | _stated("category_id", "keypoints", "skeleton")),
    "annotations": latest("annotations", _stated("annotation_id", "keypoints", "num_keypoints")),
}


def quarantined() -> str:
    """Every refused candidate with every reason, as rows of `quarantine`; the same refusal is one row."""
    return " UNION ALL ".join(f"({_refused(name)})" for name in CANDIDATES)


def _refused(name: str) -> str:
    stated = ", ".join(c for c in TABLES[name].arrow.names if c not in NOT_STATED)
    return f"""
SELECT dataset, '{name}' AS table_name, source AS source_uri, record,
  sha2(concat_ws('\n', dataset, '{name}', record, array_join(errors.rule, ',')), 256) AS record_hash,
  errors, {STAMP} AS run_id, arrived_at AS quarantined_at
FROM (
  SELECT * EXCEPT (record), coalesce(record, to_json(struct({stated}))) AS record,
    {errors_sql(refusing(name))} AS errors
  FROM {name}_candidates
)
WHERE size(errors) > 0
QUALIFY row_number() OVER (PARTITION BY record_hash ORDER BY place) = 1"""
