"""Pascal VOC XML files -> image and annotation records (no engine); for many files in Spark tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.broken import Broken
from ingestion.formats.bulk import Part
from ingestion.formats.files import read_small, stem
from ingestion.formats.image_rows import image_row, refused_row
from ingestion.formats.named import NAMED
from ingestion.formats.voc import FirstPixel, VocFile, VocObject, parse
from ingestion.identity import annotation_id, image_id
from ingestion.records import IMAGE_RECORDS, refused_annotation

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class XmlFile:
    """An XML file, the images of its stem, its split."""

    name: str
    images: Sequence[str]
    split: str | None
    refused: str | None = None
    """Why it must not be read."""


def read_files(folder: str, first_pixel: FirstPixel, files: Iterable[XmlFile]) -> Part:
    """(`IMAGE_RECORDS`, `NAMED`) of XML files under `folder`."""
    images: Rows = []
    objects: Rows = []
    for file in files:
        try:
            if file.refused:
                raise Broken(file.refused)
            content = read_small(Path(folder, file.name))
        except Broken as error:
            images += _refused(file, str(error))
            continue
        more, found = rows_of(file, content, first_pixel)
        images += more
        objects += found
    return pa.Table.from_pylist(images, schema=IMAGE_RECORDS), pa.Table.from_pylist(objects, schema=NAMED)


def rows_of(file: XmlFile, content: bytes, first_pixel: FirstPixel) -> tuple[Rows, Rows]:
    """Rows of (`IMAGE_RECORDS`, `NAMED`) of an XML file with these bytes."""
    try:
        voc = parse(content, first_pixel)
        name = _image_of(file, voc)
    except Broken as error:
        return _refused(file, str(error)), []
    objects = [_object(file, name, place, found) for place, found in enumerate(voc.objects, start=1)]
    return [_image(file, voc, name)], objects


def _image_of(file: XmlFile, voc: VocFile) -> str:
    """The image's path inside the image folder."""
    stated = PurePosixPath((voc.filename or stem(file.name)).replace("\\", "/")).name
    beside = str(PurePosixPath(file.name).parent / stated)
    if len(file.images) == 1:
        return file.images[0]
    if file.images and beside not in file.images:
        raise Broken(f"it may be of {' or '.join(file.images)}, and its <filename> {stated!r} does not tell")
    return beside


def _image(file: XmlFile, voc: VocFile, name: str) -> dict[str, Any]:
    size = {"stated_width": voc.width, "stated_height": voc.height}
    return image_row(name, split=file.split, metadata=voc.metadata, **size)


def _refused(file: XmlFile, reason: str) -> Rows:
    """A row for each image it may be of: none of them may land as if there were nothing on it."""
    return [refused_row(name, f"{file.name}: {reason}", file.name) for name in file.images or (None,)]


def _object(file: XmlFile, image: str, place: int, found: VocObject) -> dict[str, Any]:
    stated = {**found.attributes, "name": found.name, "bbox": found.bbox, "file": file.name, "object": place}
    if found.bbox is None:
        return refused_annotation(stated, f"{file.name}: object {place}: {found.broken}")
    return {
        "annotation_id": annotation_id(image, place),
        "image_id": image_id(image),
        "category_name": found.name,
        "bbox": found.bbox,
        "area": found.bbox[2] * found.bbox[3],
        "iscrowd": 0,
        "attributes": found.attributes,
        "record": msgspec.json.encode(stated).decode(),
    }
