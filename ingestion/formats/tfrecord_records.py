"""A TFRecord file of the Object Detection API -> image and annotation records (no engine).

Images are unpacked on the way. Masks are not: where they lie is noted, and Spark tasks read them later
(`ingestion/read_packed_masks.py`).
"""

import errno
import gzip
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.broken import Broken
from ingestion.formats.detection_api import NO_CLASS, Example, Stated, example
from ingestion.formats.files import RECORD_FILE
from ingestion.formats.image_rows import image_row, refused_row
from ingestion.formats.named import NAMED
from ingestion.formats.split_names import KNOWN
from ingestion.formats.tfrecord import HEAD_BYTES, Bytes, Record, is_head, records
from ingestion.identity import annotation_id, image_id
from ingestion.records import IMAGE_RECORDS, GrowingTable, refused_annotation
from lakesight.errors import SetupError
from lakesight.tables import BINARY, INT, LONG, STRING

OF_ITS_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)
"""Errors of writing a file that are the record's fault."""
SHARD = re.compile(r"-(\d+)-of-\d+(\.gz)?\Z", re.IGNORECASE)
GZIP = b"\x1f\x8b\x08"
PACKED_MASKS = pa.schema(
    [
        ("source_uri", STRING),
        ("offset", LONG),
        ("checksum", BINARY),
        ("place", STRING),
        ("ordinals", pa.list_(LONG)),
        ("objects", pa.list_(INT)),
    ]
)
"""A record with masks: where it lies and what to call it; its annotations, and which of its objects each is."""


@dataclass
class Found:
    """What the records say so far."""

    images: GrowingTable = field(default_factory=lambda: GrowingTable(IMAGE_RECORDS))
    annotations: GrowingTable = field(default_factory=lambda: GrowingTable(NAMED))
    masks: GrowingTable = field(default_factory=lambda: GrowingTable(PACKED_MASKS))
    labels: dict[str, int] = field(default_factory=dict)
    """Class -> its number, where one is stated."""
    names: set[str] = field(default_factory=set)


def read_records(base: Path, name: str, classes: Mapping[int, str], unpacked: Callable[[], Path], found: Found) -> None:
    """Add what a file says; `unpacked`: the folder for its images, once there is one."""
    stem, shard = RECORD_FILE.sub("", name), SHARD.search(name)
    words = re.split(r"[^a-z]+", PurePosixPath(stem).name.lower())
    split = next((KNOWN[word] for word in words if word in KNOWN), None)
    for number, (features, offset, checksum) in enumerate(_records(base / name), start=1):
        try:
            if isinstance(features, Broken):
                raise features
            one = example(features, f"{shard[1]}-{number:08d}" if shard else f"{number:08d}")
            # Under its file's name: `1.jpg` may be in train and in val.
            image = f"{stem}/{one.file_name}"
            if image in found.names:
                raise Broken(f"another record is of {one.file_name!r} too")
            _unpack(unpacked() / image, one.content)
        except Broken as error:
            found.images.add(refused_row(None, f"{name}: record {number}: {error}", name))
            continue
        found.names.add(image)
        size = {"stated_width": one.width, "stated_height": one.height}
        found.images.add(image_row(image, split=split, metadata=one.metadata, **size))
        place = f"{name}: record {number}"
        if masked := _add_objects(place, image, one, classes, found):
            ordinals, objects = zip(*masked, strict=True)
            where = {"source_uri": str(base / name), "offset": offset, "checksum": checksum, "place": place}
            found.masks.add({**where, "ordinals": ordinals, "objects": objects})


def _add_objects(
    place: str, image: str, one: Example, classes: Mapping[int, str], found: Found
) -> list[tuple[int, int]]:
    """(ordinal, number in the record, from 1 on) of those that have a mask."""
    if one.no_masks:
        found.annotations.add(refused_annotation({"record": place}, f"{place}: {one.no_masks}"))
    masked = []
    for number, stated in enumerate(one.objects, start=1):
        row = _object(place, image, number, stated, classes)
        if stated.mask and not stated.broken:
            masked.append((found.annotations.num_rows, number))
        found.annotations.add(row)
        if stated.label is not None and (row_class := row.get("category_name")):
            found.labels.setdefault(row_class, stated.label)
    return masked


def _object(place: str, image: str, number: int, stated: Stated, classes: Mapping[int, str]) -> dict[str, Any]:
    numbered_class = None if stated.label is None else classes.get(stated.label, f"label_{stated.label}")
    name = stated.name or numbered_class or NO_CLASS
    as_stated = {**stated.attributes, "name": name, "bbox": stated.bbox, "record": place, "object": number}
    if stated.broken:
        return refused_annotation(as_stated, f"{place}: object {number}: {stated.broken}")
    box = stated.bbox
    return {
        "annotation_id": annotation_id(image, number),
        "image_id": image_id(image),
        "category_name": name,
        "bbox": box,
        "area": box and box[2] * box[3],
        "iscrowd": stated.iscrowd,
        "attributes": stated.attributes,
        "image_level": box is None,
        "normalised": True,
        "record": msgspec.json.encode(as_stated).decode(),
    }


def _records(path: Path) -> Iterator[Record]:
    try:
        with opened(path) as file:
            yield from records(file)
    except OSError as error:
        yield Record(Broken(f"the file cannot be read: {error.strerror}"))


@contextmanager
def opened(path: Path) -> Iterator[Bytes]:
    """A TFRecord file; unpacked, if it is a gzip by its content: TensorFlow gives those no suffix.

    Raises:
        OSError: it does not open, or is no file.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise OSError(errno.EINVAL, "it is no file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if head.startswith(GZIP) and not is_head(head):
            with gzip.GzipFile(fileobj=file) as packed:
                yield packed
        else:
            yield file


def _unpack(path: Path, content: bytes) -> None:
    """Write an image's file; one that is there already, as it should be, keeps its times."""
    try:
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{os.getpid()}.half")
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        if error.errno not in OF_ITS_NAME:
            what = f"an image cannot be unpacked: {error.strerror}"
            raise SetupError(what, where=str(path.parent), fix="make room, or choose another --root") from error
        raise Broken(f"no file can be called {path.name[:100]!r}: {error.strerror}") from error
