"""A folder of images per class -> `Source`: `lakesight ingest folders` (no engine).

`DIR/[split/]class/**/*.jpg`: an image's class is its first folder, below its split where there are splits. There are
where every folder of DIR is called as one and holds no image itself: a class may well be called `train`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingestion.formats.files import Files, find, require_folder
from ingestion.formats.image_rows import image_row, refused_row, with_rows
from ingestion.formats.looks_like import advice
from ingestion.formats.named import NAMED, with_ids
from ingestion.formats.split_names import KNOWN, split_name
from ingestion.identity import annotation_id, image_id
from ingestion.records import IMAGE_RECORDS, Records, records_table
from ingestion.source import Source, require_names
from lakesight.errors import FormatError

EXPECTED = "images as DIR/class/*.jpg or DIR/split/class/*.jpg"


def read_folders(known: Mapping[str, int], *, images: Path, dataset: str, split: str | None) -> Source:
    """Read and validate; every image gets an `image_level` annotation of its class.

    Raises:
        UserError: the folder cannot be read.
        FormatError: it holds no image in a folder of a class, or looks to be of another format.
    """
    require_names(dataset, split)
    require_folder(images, EXPECTED, "check --images")
    files = find(images)
    if not any("/" in name for name in files.names):
        fix = advice(images, "folders") or "check --images; images of no class go in with another format"
        raise FormatError("there is no image in a folder of a class", where=str(images), expected=EXPECTED, fix=fix)
    _refuse_annotated(images)
    has_splits = _has_splits(files)
    rows: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for name in files.names:
        of_split, of_class = _place(name, has_splits)
        if of_class is None:
            rows.append(refused_row(name, f"{name} is in no folder of a class"))
        else:
            rows.append(image_row(name, split=of_split))
            labels.append(_label(name, of_class, len(labels)))
    annotations, categories = with_ids(pa.Table.from_pylist(labels, schema=NAMED), known)
    records = Records(with_rows(records_table(IMAGE_RECORDS, rows), (), files.refused), annotations, categories)
    return Source(
        path=images.resolve(), format="folders", images=images.resolve(), dataset=dataset, split=split,
        records=records, replaces=True,
        notes=(*files.note(images, "images"), *([] if has_splits else _no_splits(files))),
    )  # fmt: skip


def _refuse_annotated(images: Path) -> None:
    """Boxes would be lost without a word where a detection data set is taken for folders of classes."""
    if fix := advice(images, "folders"):
        raise FormatError("the folder has annotation files", where=str(images), expected=EXPECTED, fix=fix)


def _has_splits(files: Files) -> bool:
    parts = [name.split("/") for name in files.names]
    return all(len(place) != 2 and (len(place) == 1 or place[0].lower() in KNOWN) for place in parts)


def _no_splits(files: Files) -> list[str]:
    """A note, where folders look like splits, and are none since others do not."""
    parts = [name.split("/") for name in files.names]
    alike = sorted({place[0] for place in parts if len(place) > 2 and place[0].lower() in KNOWN})
    others = [place for place in parts if len(place) == 2 or (len(place) > 2 and place[0].lower() not in KNOWN)]
    if not alike:
        return []
    return [
        f"{', '.join(alike)} are taken for classes and not for splits: "
        f"{'/'.join(others[0])} is not in a folder of a class in a folder of a split"
    ]


def _place(name: str, has_splits: bool) -> tuple[str | None, str | None]:
    """(split, class) of an image."""
    parts = name.split("/")
    split = split_name(parts.pop(0)) if has_splits and len(parts) > 1 else None
    return split, parts[0] if len(parts) > 1 else None


def _label(name: str, of_class: str, ordinal: int) -> dict[str, Any]:
    return {
        "annotation_id": annotation_id(name, 0),
        "image_id": image_id(name),
        "category_name": of_class,
        "attributes": {},
        "image_level": True,
        "ordinal": ordinal,
    }
