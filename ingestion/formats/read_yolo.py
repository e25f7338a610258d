"""A YOLO data set -> `Source`: `lakesight ingest yolo` (no engine).

The labels of `images/train/a.jpg` are in `labels/train/a.txt` (the last `images` of the path), or beside the image
where no folder is called `images`. An image without that file has nothing on it.
"""

import os
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ingestion.formats.bulk import read_all
from ingestion.formats.files import Files, find, stem
from ingestion.formats.image_rows import refused_files, refused_row, with_rows
from ingestion.formats.looks_like import advice
from ingestion.formats.yolo_records import LabelFile, read_files
from ingestion.formats.yolo_yaml import YoloData, read_yaml
from ingestion.records import CATEGORY_RECORDS, Records, records_table
from ingestion.source import Source, require_any_file, require_names
from ingestion.tasks import InTasks
from lakesight.errors import FormatError, UserError

TEXT_FILE = re.compile(r"\.txt\Z", re.IGNORECASE)
NO_LABELS = {"classes.txt", "README.txt", "README.dataset.txt", "README.roboflow.txt"}
"""Text that labelling tools put beside the labels."""


def read_yolo(*, data: Path, dataset: str, in_tasks: InTasks | None = None) -> Source:
    """Read and validate; class indices of data.yaml are the category ids, its splits the images'.

    Many label files are read `in_tasks`.

    Raises:
        UserError: data.yaml cannot be read, or a path in it leads nowhere.
        FormatError: it is not as expected, or there is no image.
    """
    require_names(dataset, None)
    yolo = read_yaml(data)
    files = Files()
    notes = [f"`{name}` of {data.name} is taken as a split" for name in yolo.further]
    notes += [f"`test` of {data.name} leads nowhere, and is left out: {entry}" for entry in yolo.absent]
    splits: dict[str, str] = {}
    for split, places in yolo.places.items():
        names = [name for place in places for name in _images(place, yolo.root, files)]
        twice = [name for name in names if splits.setdefault(name, split) != split]
        if twice:
            notes.append(f"{len(twice):,} images of {split} are in {splits[twice[0]]} as well, and count for that")
    if not splits and not files.refused:
        fix = advice(data.parent, "yolo") or "check `path`, `train`, `val` and `test`"
        raise FormatError("there is no image", where=str(data), expected="images in the folders it names", fix=fix)
    tasks = [LabelFile(name, labels_of(name), split) for name, split in splits.items()]
    images, annotations = read_all(partial(read_files, str(yolo.root), yolo.kpt_shape), tasks, in_tasks)
    strays = _strays(yolo, {task.labels for task in tasks})
    rows = [refused_row(None, f"{name}: {why}", name) for name, why in strays.items()]
    categories = records_table(
        CATEGORY_RECORDS, [{"category_id": i, "name": name, "attributes": {}} for i, name in yolo.names.items()]
    )
    records = Records(with_rows(images, rows, files.refused), annotations, categories)
    require_any_file(records.images["file_name"].to_pylist(), yolo.root)
    return Source(
        path=data.resolve(), format="yolo", images=yolo.root, dataset=dataset, split=None, records=records,
        replaces=True, notes=(*notes, *files.note(yolo.root, "images")),
        files=_files(data, yolo, [*(task.labels for task in tasks), *strays], records),
    )  # fmt: skip


def _files(data: Path, yolo: YoloData, labels: Iterable[str], records: Records) -> dict[str, str | None]:
    """`Source.files`: data.yaml, its lists, label files (also of images that have none)."""
    why = refused_files(records.images)
    lists = [place for places in yolo.places.values() for place in places if place.is_file()]
    whole = {str(path): None for path in (data.resolve(), *lists)}
    return whole | {f"{yolo.root}/{name}": why.get(name) for name in labels}


def labels_of(image: str) -> str:
    """The label file of an image, both POSIX paths inside the data set's folder."""
    return f"{stem(in_labels(image) or image)}.txt"


def in_labels(path: str) -> str | None:
    """The POSIX path with its last folder `images` called `labels`; None if there is none."""
    parts = path.split("/")
    places = [place for place, part in enumerate(parts) if part == "images"]
    return "/".join([*parts[: places[-1]], "labels", *parts[places[-1] + 1 :]]) if places else None


def _images(place: Path, root: Path, files: Files) -> Iterable[str]:
    """Images of a folder or a .txt list, relative to `root`; what is passed over or refused goes to `files`."""
    if place.is_file():
        names, refused = listed(read_list(place), place, root)
        files.refused.update(refused)
        return names
    inside = place.relative_to(root).as_posix()
    prefix = "" if inside == "." else f"{inside}/"
    found = find(place)
    if in_labels(inside) is None:
        found.skipped.pop(".txt", None)  # labels, beside the images
    files.skipped.update(found.skipped)
    files.refused.update({f"{prefix}{name}": why for name, why in found.refused.items()})
    return [f"{prefix}{name}" for name in found.names]


def read_list(place: Path) -> str:
    """The text of a list of images.

    Raises:
        UserError: it cannot be read.
        FormatError: it is no text.
    """
    try:
        return place.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        expected = "an image a line"
        raise FormatError(
            "the list of images is not UTF-8", where=str(place), expected=expected, fix="convert it"
        ) from error
    except OSError as error:
        raise UserError(f"the list of images cannot be read: {error.strerror}", where=str(place)) from error


def listed(text: str, place: Path, root: Path) -> tuple[list[str], dict[str, str]]:
    """(images that a list in the file `place` names, relative to `root`; those that are refused -> why)."""
    names: dict[str, None] = {}
    refused = {}
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        if "\0" in line:
            refused[line] = "the name has a NUL in it"
            continue
        # Darknet's lists count from the data set's folder, Ultralytics' from their own.
        candidates = [os.path.normpath(root / line), os.path.normpath(place.parent / line)]
        path = next(filter(os.path.exists, candidates), candidates[0])
        name = os.path.relpath(path, root)
        if not os.path.realpath(path).startswith(f"{root}/"):
            refused[name] = "it leads out of the data set's folder"
        else:
            names[Path(name).as_posix()] = None
    return list(names), refused


def _strays(yolo: YoloData, used: set[str]) -> dict[str, str]:
    """Label files in label folders that belong to no image -> what is wrong with them."""
    strays: dict[str, str] = {}
    for place in {place for places in yolo.places.values() for place in places if place.is_dir()}:
        labels = in_labels(place.relative_to(yolo.root).as_posix())
        if labels is not None and (yolo.root / labels).is_dir():
            found = find(yolo.root / labels, TEXT_FILE)
            reasons = dict.fromkeys(found.names, "there is no image for these labels") | found.refused
            strays |= {f"{labels}/{name}": why for name, why in reasons.items()}
    return {name: why for name, why in sorted(strays.items()) if name not in used and _is_labels(name)}


def _is_labels(name: str) -> bool:
    return name.lower().endswith(".txt") and name.rsplit("/", 1)[-1] not in NO_LABELS
