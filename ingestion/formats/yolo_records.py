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
from ingestion.records import ANNOTATION_RECORDS, IMAGE_RECORDS, refused_annotation

Rows = list[dict[str, Any]]
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
    images: Rows = []
    objects: Rows = []
    for file in files:
        try:
            content = _content(root, file.labels)
        except Broken as error:
            images.append(_refused(file, error))
            continue
        image, found = rows_of(file, content, kpt_shape)
        images.append(image)
        objects += found
    return pa.Table.from_pylist(images, schema=IMAGE_RECORDS), pa.Table.from_pylist(objects, schema=ANNOTATION_RECORDS)


def rows_of(file: LabelFile, content: bytes | None, kpt_shape: KptShape | None) -> tuple[dict[str, Any], Rows]:
    """(a row of `IMAGE_RECORDS`, rows of `ANNOTATION_RECORDS`); `content` of the label file, None if there is none."""
    try:
        lines = _lines(content or b"")
    except Broken as error:
        return _refused(file, error), []
    objects = [_object(file, place, line, kpt_shape) for place, line in enumerate(lines, start=1) if line.strip()]
    return image_row(file.image, split=file.split), objects


def _refused(file: LabelFile, why: Broken) -> dict[str, Any]:
    return refused_row(file.image, f"{file.labels}: {why}", file.labels)


def _content(root: str, labels: str) -> bytes | None:
    path = Path(root, labels)
    if path.is_symlink() and not path.resolve().is_relative_to(os.path.realpath(root)):
        raise Broken("it is a link out of the folder")
    return read_small(path) if os.path.lexists(path) else None


def _lines(content: bytes) -> list[str]:
    try:
        # Not splitlines(): that also splits at form feeds and the like, and lines would be miscounted.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        raise Broken("it is not text") from None


def _object(file: LabelFile, place: int, line: str, kpt_shape: KptShape | None) -> dict[str, Any]:
    stated = {"file": file.labels, "line": place, "text": line[:SHOWN]}
    try:
        found = parse_line(line, kpt_shape)
    except Broken as error:
        return refused_annotation(stated, f"{file.labels}:{place}: {error}")
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
        "record": msgspec.json.encode(stated).decode(),
    }
