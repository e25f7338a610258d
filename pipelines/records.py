"""Records of a VOC or YOLO data set, in Spark SQL over `label_rows` and `category_names` (pure).

The whole data set is one `source`. As in a file, the first record with an id has it: what came first, then by name.
"""

from pathlib import Path

from lakesight.spark import quote

NO_TEXT = "CAST(NULL AS STRING)"


def images(dataset: str, source: Path) -> str:
    """Image records; an image is bare only as long as no label file speaks of it."""
    return f"""
WITH found AS (
  SELECT path, came_at, arrived_at, inline(found.images) FROM label_rows
), known AS (
  SELECT *, {_place(source)} FROM found QUALIFY NOT (bare AND bool_or(NOT bare) OVER (PARTITION BY file_name))
)
SELECT * EXCEPT (bare, path, came_at), {_names(dataset, source)}, {_repeated("image_id")} FROM known
"""


def annotations(dataset: str, source: Path) -> str:
    """Annotation records; a class that is stated by name has the id of that name."""
    return f"""
WITH found AS (
  SELECT path, came_at, arrived_at, inline(found.annotations) FROM label_rows
), known AS (
  SELECT f.* EXCEPT (category_id, category_name), coalesce(f.category_id, c.category_id) AS category_id,
    {_place(source)}
  FROM found f LEFT JOIN category_names c ON c.name = f.category_name
)
SELECT * EXCEPT (path, came_at), {_names(dataset, source)}, {_repeated("annotation_id")} FROM known
"""


def categories(dataset: str, source: Path) -> str:
    """Category records, as `CATEGORY_RECORDS`."""
    return f"""
WITH found AS (SELECT *, arrived_at AS came_at, category_id AS ordinal FROM category_names)
SELECT CAST(category_id AS BIGINT) AS category_id, name, {NO_TEXT} AS supercategory,
  CAST(NULL AS ARRAY<STRING>) AS keypoints, {NO_TEXT} AS skeleton, CAST(map() AS MAP<STRING, STRING>) AS attributes,
  {NO_TEXT} AS record, {NO_TEXT} AS refused_by, {NO_TEXT} AS refused_because, FALSE AS repeated, arrived_at,
  {_names(dataset, source)}, {_place(source)}
FROM found
"""


def _names(dataset: str, source: Path) -> str:
    return f"{quote(dataset)} AS dataset, {quote(str(source))} AS source"


def _place(source: Path) -> str:
    file = f"struct(came_at AS arrived_at, CAST(NULL AS TIMESTAMP) AS modified_at, {quote(str(source))} AS path)"
    return f"struct({file} AS file, ordinal) AS place"


def _repeated(key: str) -> str:
    return f"{key} IS NOT NULL AND row_number() OVER (PARTITION BY {key} ORDER BY place, path) > 1 AS repeated"
