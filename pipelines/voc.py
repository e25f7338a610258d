"""A Pascal VOC folder as sets, in Spark SQL over the datasets of the pipeline (pure).

The rules are those of `ingestion/formats/read_voc.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from lakesight.spark import quote

STEM = r"regexp_replace(name, '(?<=[^/])\\.[^./]+$', '')"
"""Python's: the name without its last suffix."""


def splits(names: Sequence[str]) -> str:
    """(stem, split) of `image_set_stems`, rows (stem, split); `names` in the order in which they count."""
    rank = f"array_position(array({', '.join(map(quote, names))}), split)"
    return f"SELECT stem, min_by(split, {rank}) AS split FROM image_set_stems WHERE {rank} > 0 GROUP BY stem"


def label_files(folder: Path) -> str:
    """A row an XML file with the images of its stem, and one for the images of a stem that has none."""
    return f"""
WITH pictures AS (
  SELECT stem, array_sort(collect_list(name)) AS images, min(arrived_at) AS first_at, max(arrived_at) AS last_at
  FROM (SELECT *, {STEM} AS stem FROM ({named("image_files", folder / "JPEGImages")}))
  GROUP BY stem
), xmls AS (
  SELECT *, {STEM} AS stem FROM ({named("annotation_files", folder / "Annotations")})
)
SELECT coalesce(x.path, p.stem) AS path, x.name AS labels, x.content, p.images, s.split, x.arrived_at AS labelled_at,
  coalesce(p.first_at, x.arrived_at) AS came_at, greatest(x.arrived_at, p.last_at) AS arrived_at
FROM xmls x FULL OUTER JOIN pictures p ON p.stem = x.stem LEFT JOIN image_sets s ON s.stem = coalesce(x.stem, p.stem)
"""


def named(files: str, folder: Path) -> str:
    """Files under a folder, with `name`: their path in it."""
    prefix = f"{folder}/"
    return f"SELECT *, substr(path, {len(prefix) + 1}) AS name FROM {files} WHERE startswith(path, {quote(prefix)})"


CATEGORIES = """
SELECT name, min(labelled_at) AS arrived_at, dense_rank() OVER (ORDER BY min(labelled_at), name) AS category_id
FROM (SELECT labelled_at, explode(found.annotations.category_name) AS name FROM label_rows)
WHERE name IS NOT NULL GROUP BY name
"""
"""Class names get their ids in the order in which they came, by name where they came together."""
