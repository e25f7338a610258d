"""data.yaml of a YOLO data set (no engine): where its images are, what its classes are called."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ingestion.formats.looks_like import advice
from ingestion.formats.split_names import KNOWN
from ingestion.formats.yolo import KptShape
from lakesight.errors import FormatError, UserError
from lakesight.places import is_file, is_folder, is_there

SPLITS = ("train", "val", "test")
"""Of an image in several, the first counts; other names come behind."""
MAY_BE_ABSENT = "test"
"""Roboflow names it where it has made none, and Ultralytics never looks for it."""
NO_SPLITS = {"path", "names", "nc", "download", "yaml_file", "images", "labels", "masks", "license", "readme"}
"""Keys that may lead to a folder or a .txt file and mean something else."""
EXPECTED = (
    "YAML with `names`, and `train`, `val` or `test`: a folder of images, a .txt list of images, or a list of these"
)


@dataclass(frozen=True)
class YoloData:
    """What data.yaml says; `places` are folders and .txt files inside `root`, by split."""

    root: Path
    places: dict[str, list[Path]]
    further: tuple[str, ...]
    """Splits of `places` that are none of YOLO's."""
    absent: tuple[str, ...]
    """Places of `test` that are not there."""
    names: dict[int, str]
    kpt_shape: KptShape | None


def read_yaml(file: Path) -> YoloData:
    """Read and validate.

    Relative paths count from `path`, and `path` from the folder of the file - where that leads nowhere, they count
    from that folder itself, as files are moved after they are written.

    Raises:
        UserError: it cannot be read, or a path in it leads nowhere or out of `path`.
        FormatError: it is no YAML, or not as expected.
    """
    stated = _load(file)
    root = _resolved(file.parent / str(stated.get("path") or "."))
    if not is_folder(root):
        root = file.parent.resolve()
    named = {split: [key for key in stated if KNOWN.get(str(key).lower()) == split] for split in SPLITS}
    further = tuple(key for key, value in stated.items() if _is_further(key, value, root))
    named |= {key: [key] for key in further}
    absent: list[str] = []
    places: dict[str, list[Path]] = {split: [] for split in named}
    for split, key in ((split, key) for split, keys in named.items() for key in keys):
        for entry in _entries(stated[key], key, file):
            place = _place(entry, root)
            if split == MAY_BE_ABSENT and not is_there(place):
                absent.append(entry)
            else:
                places[split].append(_inside(place, entry, key, root, file))
    if not any(places.values()):
        raise _wrong(file, "it names no `train`, `val` or `test`" + (", that is there" if absent else ""))
    return YoloData(root, places, further, tuple(absent), _names(stated, file), _kpt_shape(stated, file))


def _is_further(key: object, value: object, root: Path) -> bool:
    """Whether a key is a split of a name of its own: CVAT writes its subsets so, and YOLO knows `minival`."""
    if not isinstance(key, str) or key.lower() in NO_SPLITS | KNOWN.keys():
        return False
    entries = value if isinstance(value, list) else [value]
    return bool(entries) and all(isinstance(entry, str) and _is_place(entry, root) for entry in entries)


def _is_place(entry: str, root: Path) -> bool:
    if not entry or "\0" in entry:
        return False
    place = _resolved(root / entry)
    return place.is_relative_to(root) and (is_folder(place) or (place.suffix == ".txt" and is_file(place)))


def _load(file: Path) -> dict[str, Any]:
    try:
        stated = yaml.safe_load(file.read_bytes())
    except OSError as error:
        what = f"data.yaml cannot be read: {error.strerror}"
        fix = advice(file if is_folder(file) else file.parent, "yolo") or "check --data"
        raise UserError(what, where=str(file), expected=EXPECTED, fix=fix) from error
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a date that is none, bytes that are no text
        raise _wrong(file, f"it is not YAML: {error}"[:300]) from error
    if not isinstance(stated, dict):
        raise _wrong(file, "it is no mapping")
    return stated


def _entries(value: object, key: str, file: Path) -> list[str]:
    if not value:  # `test: # optional`
        return []
    entries: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry and "\0" not in entry for entry in entries):
        raise _wrong(file, f"`{key}` is neither a path nor a list of paths")
    return entries


def _place(entry: str, root: Path) -> Path:
    place = _resolved(root / entry)
    if not is_there(place) and entry.startswith("../"):  # Roboflow writes ../train/images for train/images
        place = _resolved(root / entry.removeprefix("../"))
    return place


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # a Path raises where links lead in a circle


def _inside(place: Path, entry: str, key: str, root: Path, file: Path) -> Path:
    if not is_there(place):
        raise UserError(
            f"`{key}` leads nowhere",
            where=f"{file}: {entry}",
            expected=f"a folder or .txt file in {root}",
            fix="correct the path, or `path`, which it counts from",
        )
    if not place.is_relative_to(root):
        raise UserError(
            f"`{key}` leads out of the data set's folder",
            where=f"{file}: {entry}",
            expected=f"a path in {root}",
            fix="set `path` to a folder that holds all images",
        )
    return place


def _names(stated: Mapping[str, Any], file: Path) -> dict[int, str]:
    names, count = stated.get("names"), stated.get("nc")
    if names is None and isinstance(count, int) and 0 < count < 100_000:
        return {index: f"class_{index}" for index in range(count)}
    named = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(named, dict) or not named:
        raise _wrong(file, "`names` is neither a list nor a mapping of class names")
    named = {_index(key): name for key, name in named.items()}
    for index, name in named.items():
        if not isinstance(index, int) or index < 0 or not isinstance(name, str | int | float) or not str(name).strip():
            raise _wrong(file, f"`names` has {index!r}: {name!r}, which is no class index and name")
    if isinstance(count, int) and count != len(named):
        raise _wrong(file, f"`nc` is {count}, but `names` has {len(named)} classes")
    return {index: str(name) for index, name in sorted(named.items())}


def _index(key: object) -> object:
    """JSON, and what is made from it, has numbers as strings where they are keys."""
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key


def _kpt_shape(stated: Mapping[str, Any], file: Path) -> KptShape | None:
    match stated.get("kpt_shape"):
        case None:
            return None
        case [int(count), int(width)] if count > 0 and width in (2, 3):
            return count, width
        case other:
            raise _wrong(file, f"`kpt_shape` is {other!r}, not [number of points, 2 or 3]")


def _wrong(file: Path, what: str) -> FormatError:
    fix = advice(file.parent, "yolo") or "check --data"
    return FormatError(f"this is no YOLO data.yaml: {what}", where=str(file), expected=EXPECTED, fix=fix)
