"""A YOLO data set as sets, in Spark SQL over the datasets of the pipeline (pure).

The rules are those of `ingestion/formats/read_yolo.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ingestion.formats.read_yolo import NO_LABELS, in_labels, read_list
from ingestion.formats.yolo_yaml import YoloData, read_yaml
from ingestion.watched import DATA_YAML
from lakesight.errors import FormatError
from lakesight.spark import quote
from pipelines.voc import STEM, named


def read_data(folder: Path) -> tuple[Path, YoloData]:
    """data.yaml of a folder, as it is now: its place and what it says.

    Raises:
        UserError: it or a list of images cannot be read, or a path in it leads nowhere.
        FormatError: it or a list is not as expected, or it leads out of the folder.
    """
    file = folder / DATA_YAML
    data = read_yaml(file)
    if not data.root.is_relative_to(folder.resolve()):
        raise FormatError(
            f"a pipeline cannot follow {data.root}",
            where=str(file),
            expected=f"images in {folder}",
            fix="correct `path`, or use `lakesight ingest yolo`",
        )
    for place in lists_of(data):
        read_list(place)
    return file, data


def lists_of(data: YoloData) -> list[Path]:
    """The lists of images that it names."""
    return [place for places in data.places.values() for place in places if place.is_file()]


def label_files(root: Path, places: Mapping[str, Sequence[Path]]) -> str:
    """A row an image of one of `places` (split -> folders, lists), and one a label file that belongs to none.

    Lists are read already: `list_lines`, rows (path of the list, name, because it is refused). Of an image that is
    in several splits the first counts.
    """
    splits = f"array({', '.join(map(quote, places))})"
    inside = [[place.relative_to(root).as_posix() for place in some if place.is_dir()] for some in places.values()]
    lists = [[str(place) for place in some if place.is_file()] for some in places.values()]
    labels = [found for folders in inside for folder in folders if (found := in_labels(folder)) is not None]
    no_labels = ", ".join(map(quote, sorted(NO_LABELS)))
    return f"""
WITH files AS (
  SELECT *, {_first(map(_under, inside))} AS rank FROM ({named("image_files", root)})
), listed AS (
  SELECT name, min({_first(map(_among, lists))}) AS rank, min(because) AS because FROM list_lines GROUP BY name
), named AS (
  SELECT coalesce(f.name, l.name) AS name, coalesce(f.path, concat({quote(f"{root}/")}, l.name)) AS path, l.because,
    {splits}[least(f.rank, l.rank)] AS split,
    coalesce(f.arrived_at, (SELECT min(arrived_at) FROM annotation_files)) AS arrived_at
  FROM files f FULL OUTER JOIN listed l ON l.name = f.name
  WHERE f.rank IS NOT NULL OR l.rank IS NOT NULL
), pictures AS (
  SELECT *, CASE WHEN because IS NULL
    THEN concat(regexp_replace({STEM}, '(?s)^((?:.*/)?)images/(.*)$', '$1labels/$2'), '.txt') END AS labels
  FROM named
), texts AS (
  SELECT * FROM ({named("annotation_files", root)})
  WHERE lower(name) LIKE '%.txt'
)
SELECT coalesce(p.path, t.path) AS path, p.name AS image, coalesce(p.labels, t.name) AS labels, t.content, p.split,
  f.width, f.height, p.because, t.arrived_at AS labelled_at, coalesce(p.arrived_at, t.arrived_at) AS came_at,
  greatest(p.arrived_at, t.arrived_at) AS arrived_at
FROM pictures p FULL OUTER JOIN texts t ON t.name = p.labels
LEFT JOIN image_facts f ON f.path = p.path
WHERE p.path IS NOT NULL OR ({_under(labels, "t.name")} AND substring_index(t.name, '/', -1) NOT IN ({no_labels}))
"""


def categories(names: Mapping[int, str]) -> str:
    """Index and name of the classes, as data.yaml says them now; they are there since the first image is."""
    rows = ", ".join(f"(CAST({index} AS BIGINT), {quote(name)})" for index, name in names.items())
    return f"""
SELECT category_id, name, (SELECT min(arrived_at) FROM image_files) AS arrived_at
FROM VALUES {rows} AS stated (category_id, name)"""


def _first(conditions: Iterable[str]) -> str:
    """Place of the first condition that holds, from 0; NULL if none does."""
    return f"CASE {' '.join(f'WHEN {one} THEN {place}' for place, one in enumerate(conditions))} END"


def _among(paths: Sequence[str]) -> str:
    return f"path IN ({', '.join(map(quote, paths)) or 'NULL'})"


def _under(folders: Sequence[str], name: str = "name") -> str:
    """Whether a name is in one of the folders; "." is all."""
    some = [quote("" if folder == "." else f"{folder}/") for folder in folders]
    return "(" + " OR ".join(f"startswith({name}, {prefix})" for prefix in some or ["NULL"]) + ")"
