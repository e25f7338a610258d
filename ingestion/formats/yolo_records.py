"""YOLO label files -> image and annotation records (no engine); for many files in Spark tasks."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.broken import Broken
from ingestion.formats.bulk import Part
from ingestion.formats.files import read_small
from ingestion.formats.image_rows import image_row, refused_row
from ingestion.formats.yolo import KptShape, parse_line
from ingestion.identity import annotation_id, image_id
from ingestion.records import ANNOTATION_RECORDS, IMAGE_RECORDS

SHOWN = 1_000
"""Characters of a line that a refused record shows."""


@dataclass(frozen=True)
class LabelFile:
    """An image and the file of its labels, POSIX paths inside the data set's folder."""

    image: str
    labels: str
    split: str


def read_files(root: str, kpt_shape: KptShape | None, files: Iterable[LabelFile]) -> Part:
    """(`IMAGE_RECORDS`, `ANNOTATION_RECORDS`) of images under `root`; one without a label file has nothing on it."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for file in files:
        try:
            lines = _lines(root, file.labels)
        except Broken as error:
            images.append(refused_row(file.image, f"{file.labels}: {error}", file.labels))
            continue
        images.append(image_row(file.image, split=file.split))
        objects += [_object(file, place, line, kpt_shape) for place, line in enumerate(lines, start=1) if line.strip()]
    return pa.Table.from_pylist(images, schema=IMAGE_RECORDS), pa.Table.from_pylist(objects, schema=ANNOTATION_RECORDS)


def _lines(root: str, labels: str) -> list[str]:
    path = Path(root, labels)
    if path.is_symlink() and not path.resolve().is_relative_to(os.path.realpath(root)):
        raise Broken("it is a link out of the folder")
    if not os.path.lexists(path):
        return []
    try:
        # Not splitlines(): that also splits at form feeds and the like, and lines would be miscounted.
        return read_small(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        raise Broken("it is not text") from None


def _object(file: LabelFile, place: int, line: str, kpt_shape: KptShape | None) -> dict[str, Any]:
    record = msgspec.json.encode({"file": file.labels, "line": place, "text": line[:SHOWN]}).decode()
    try:
        found = parse_line(line, kpt_shape)
    except Broken as error:
        because = f"{file.labels}:{place}: {error}"
        return {"record": record, "refused_by": "annotation_record_valid", "refused_because": because}
    return {
        "annotation_id": annotation_id(file.image, place),
        "image_id": image_id(file.image),
        "category_id": found.category_id,
        "bbox": found.bbox,
        "area": found.area,
        "iscrowd": 0,
        "segmentation": found.segmentation,
        "keypoints": found.keypoints,
        "num_keypoints": None if found.keypoints is None else sum(flag > 0 for flag in found.keypoints[2::3]),
        "attributes": {},
        "normalised": True,
        "record": record,
    }
