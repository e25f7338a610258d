"""A YOLO data set as sets, in Spark SQL over the datasets of the pipeline (pure).

The rules are those of `ingestion/formats/read_yolo.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingestion.formats.read_yolo import NO_LABELS, in_labels
from ingestion.formats.yolo_yaml import YoloData, read_yaml
from ingestion.watched import DATA_YAML
from lakesight.errors import FormatError
from lakesight.spark import quote
from pipelines.voc import STEM, named


def read_data(folder: Path) -> tuple[Path, YoloData]:
    """data.yaml of a folder, as it is now: its place and what it says.

    Raises:
        UserError: it cannot be read, or a path in it leads nowhere.
        FormatError: it is not as expected, leads out of the folder, or has lists of images.
    """
    file = folder / DATA_YAML
    data = read_yaml(file)
    lists = [place for places in data.places.values() for place in places if place.is_file()]
    if lists or not data.root.is_relative_to(folder.resolve()):
        raise FormatError(
            f"a pipeline cannot follow {lists[0] if lists else data.root}",
            where=str(file),
            expected=f"splits that are folders of images in {folder}",
            fix="name folders in it, or use `lakesight ingest yolo`",
        )
    return file, data


def label_files(root: Path, places: Mapping[str, Sequence[Path]]) -> str:
    """A row an image in one of the folders `places` (split -> folders), and one a label file that belongs to none."""
    inside = {split: [place.relative_to(root).as_posix() for place in some] for split, some in places.items()}
    split = " ".join(f"WHEN {_under(folders)} THEN {quote(split)}" for split, folders in inside.items() if folders)
    labels = [found for folders in inside.values() for folder in folders if (found := in_labels(folder)) is not None]
    no_labels = ", ".join(map(quote, sorted(NO_LABELS)))
    return f"""
WITH pictures AS (
  SELECT *, CASE {split} END AS split,
    concat(regexp_replace({STEM}, '(?s)^((?:.*/)?)images/(.*)$', '$1labels/$2'), '.txt') AS labels
  FROM ({named("image_files", root)})
), texts AS (
  SELECT * FROM ({named("annotation_files", root)})
  WHERE lower(name) LIKE '%.txt'
)
SELECT coalesce(p.path, t.path) AS path, p.name AS image, coalesce(p.labels, t.name) AS labels, t.content, p.split,
  f.width, f.height, t.arrived_at AS labelled_at, coalesce(p.arrived_at, t.arrived_at) AS came_at,
  greatest(p.arrived_at, t.arrived_at) AS arrived_at
FROM (SELECT * FROM pictures WHERE split IS NOT NULL) p
FULL OUTER JOIN texts t ON t.name = p.labels
LEFT JOIN image_facts f ON f.path = p.path
WHERE p.path IS NOT NULL OR ({_under(labels, "t.name")} AND substring_index(t.name, '/', -1) NOT IN ({no_labels}))
"""


def categories(names: Mapping[int, str]) -> str:
    """Index and name of the classes, as data.yaml says them now; they are there since the first image is."""
    rows = ", ".join(f"(CAST({index} AS BIGINT), {quote(name)})" for index, name in names.items())
    return f"""
SELECT category_id, name, (SELECT min(arrived_at) FROM image_files) AS arrived_at
FROM VALUES {rows} AS stated (category_id, name)"""


def _under(folders: Sequence[str], name: str = "name") -> str:
    """Whether a name is in one of the folders; "." is all."""
    some = [quote("" if folder == "." else f"{folder}/") for folder in folders]
    return "(" + " OR ".join(f"startswith({name}, {prefix})" for prefix in some or ["NULL"]) + ")"
