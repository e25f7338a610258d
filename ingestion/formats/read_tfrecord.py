"""TFRecord files of the Object Detection API -> `Source`: `lakesight ingest tfrecord` (no engine).

The pixels are inside of the records, so they are unpacked first, a file an image, into the root.
"""

import errno
import gzip
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.broken import Broken
from ingestion.formats.bulk import numbered
from ingestion.formats.detection_api import NO_CLASS, Example, Stated, example, label_map
from ingestion.formats.files import RECORD_FILE, find, read_small, require_folder
from ingestion.formats.image_rows import image_row, refused_row, with_rows
from ingestion.formats.named import NAMED, with_ids
from ingestion.formats.split_names import KNOWN
from ingestion.formats.tfrecord import Features, examples
from ingestion.identity import annotation_id, image_id
from ingestion.masks import read_mask, why_not
from ingestion.records import IMAGE_RECORDS, Records, refused_annotation
from ingestion.source import Source, require_names
from lakesight.errors import FormatError, SetupError
from lakesight.warehouse import create_warehouse

EXPECTED = "TFRecord files of the Object Detection API: *.tfrecord, *.record, also in shards and with .gz"
OF_ITS_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)
"""Errors of writing a file that are the record's fault."""
LABEL_MAP = re.compile(r"\.pbtxt\Z", re.IGNORECASE)


@dataclass
class _Found:
    """What the records say, as rows."""

    images: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """Class -> its number, where one is stated."""
    names: set[str] = field(default_factory=set)


def read_tfrecord(known: Mapping[str, int], *, root: Path, folder: Path, dataset: str, split: str | None) -> Source:
    """Read and validate; images are unpacked to `unpacked/` in `root`, where they stay.

    Raises:
        UserError: the folder cannot be read, or the root not be written.
        SetupError: a package is not installed.
        FormatError: there is no TFRecord file, or no record in them is an image.
    """
    require_names(dataset, split)
    require_folder(folder, EXPECTED, "check --folder")
    _require_packages()
    base = folder.resolve()
    files = find(base, RECORD_FILE)
    if not files.names:
        raise FormatError("there is no TFRecord file", where=str(folder), expected=EXPECTED, fix="check --folder")
    classes = _label_map(base)
    place = hashlib.sha256(str(base).encode(errors="surrogateescape")).hexdigest()[:12]
    unpacked = cache(lambda: create_warehouse(root).state("unpacked", place))  # not before there is something to write
    found = _Found(labels={name: number for number, name in classes.items()})
    for name in files.names:
        _read_file(base, name, classes, unpacked, found)
    if all("image_id" not in row for row in found.images):
        why = found.images[0]["refused_because"] if found.images else "there is no record"
        raise FormatError(f"no record is an image; the first: {why}", where=str(folder), expected=EXPECTED)
    annotations, categories = with_ids(numbered(pa.Table.from_pylist(found.objects, NAMED)), _ids(found.labels, known))
    images = with_rows(pa.Table.from_pylist(found.images, IMAGE_RECORDS), (), files.refused)
    return Source(
        path=base, format="tfrecord", images=unpacked(), dataset=dataset, split=split,
        records=Records(images, annotations, categories), replaces=True,
    )  # fmt: skip


def _require_packages() -> None:
    try:
        for name in ("google.protobuf", "google_crc32c"):
            import_module(name)
    except ImportError as error:
        raise SetupError(
            f"TFRecord files cannot be read: {error}",
            expected="the packages of the extra `tfrecord`",
            fix="pip install 'lakesight[tfrecord]'",
        ) from error


def _label_map(base: Path) -> dict[int, str]:
    """Number -> class, of all label maps in the folder."""
    classes: dict[int, str] = {}
    for name in find(base, LABEL_MAP).names:
        try:
            classes |= label_map(read_small(base / name).decode("utf-8-sig"))
        except (Broken, UnicodeDecodeError) as error:
            raise FormatError(f"the label map cannot be read: {error}", where=str(base / name)) from error
    return classes


def _ids(labels: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """Class -> category_id: as the data set has it, else as the files number it, if that number is free."""
    ids, taken = dict(known), set(known.values())
    for name, number in labels.items():
        if name not in ids and number not in taken:
            ids[name] = number
            taken.add(number)
    return ids


def _read_file(base: Path, name: str, classes: Mapping[int, str], unpacked: Callable[[], Path], found: _Found) -> None:
    stem = RECORD_FILE.sub("", name)
    words = re.split(r"[^a-z]+", PurePosixPath(stem).name.lower())
    split = next((KNOWN[word] for word in words if word in KNOWN), None)
    for place, features in enumerate(_examples(base / name), start=1):
        try:
            if isinstance(features, Broken):
                raise features
            one = example(features, place)
            # Under its file's name: `1.jpg` may be in train and in val.
            image = f"{stem}/{one.file_name}"
            if image in found.names:
                raise Broken(f"another record is of {one.file_name!r} too")
            _unpack(unpacked() / image, one.content)
        except Broken as error:
            found.images.append(refused_row(None, f"{name}: record {place}: {error}", name))
            continue
        found.names.add(image)
        size = {"stated_width": one.width, "stated_height": one.height}
        found.images.append(image_row(image, split=split, metadata=one.metadata, **size))
        _add_objects(f"{name}: record {place}", image, one, classes, found)


def _add_objects(where: str, image: str, one: Example, classes: Mapping[int, str], found: _Found) -> None:
    """A box counts without its mask; a mask that is of no use is a refused record beside it."""
    if one.no_masks:
        found.objects.append(refused_annotation({"record": where}, f"{where}: {one.no_masks}"))
    for number, stated in enumerate(one.objects, start=1):
        row = _object(where, image, number, stated, classes)
        if stated.mask and not stated.broken:
            try:
                row |= _masked(stated.mask)
            except Exception as error:  # Pillow's decoders raise every kind there is
                why = f"{where}: object {number}: its mask cannot be read: {why_not(error)}"
                found.objects.append(refused_annotation({"record": where, "object": number}, why))
        found.objects.append(row)
        if stated.label and (row_class := row.get("category_name")):
            found.labels.setdefault(row_class, stated.label)


def _masked(png: bytes) -> dict[str, Any]:
    mask, share = read_mask(png)
    return {"segmentation": mask.segmentation, "area": share}


def _examples(path: Path) -> Iterator[Features | Broken]:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield from examples(file)
    except OSError as error:
        yield Broken(f"the file cannot be read: {error.strerror}")


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


def _object(where: str, image: str, place: int, stated: Stated, classes: Mapping[int, str]) -> dict[str, Any]:
    numbered_class = classes.get(stated.label, f"label_{stated.label}") if stated.label else None
    name = stated.name or numbered_class or NO_CLASS
    as_stated = {**stated.attributes, "name": name, "bbox": stated.bbox, "record": where, "object": place}
    if stated.broken:
        return refused_annotation(as_stated, f"{where}: object {place}: {stated.broken}")
    box = stated.bbox
    return {
        "annotation_id": annotation_id(image, place),
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
