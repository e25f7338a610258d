"""Tables -> Pascal VOC: an XML file an image, and the lists of `ImageSets` (pure).

`JPEGImages/<file_name>`, `Annotations/<name>.xml`, `ImageSets/Main/<split>.txt`. VOC counts pixels from 1 and names
the first and the last one inside: xmin = x + 1, ymin = y + 1, xmax = x + width, ymax = y + height.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.export.selection import File, Row, Selection, rows_of

OBJECT_KEYS = ("pose", "truncated", "occluded", "difficult")
"""VOC's own keys of an object, in its order; kept in `attributes`."""


def image_path(_: str | None, file_name: str) -> str:
    """Where an image goes, in the exported folder."""
    return f"JPEGImages/{file_name}"


def takes(annotations: pa.Table) -> pa.ChunkedArray:
    """Of each annotation, whether the format can say it: boxes."""
    return pc.is_valid(annotations["bbox"])


def files(selection: Selection) -> Iterator[File]:
    """Every file but the images."""
    names = {row["category_id"]: row["name"] for row in rows_of(selection.categories)}
    boxes: dict[int, list[Row]] = {}
    for row in rows_of(selection.annotations):
        boxes.setdefault(row["image_id"], []).append(row)
    for image in rows_of(selection.images):
        yield f"Annotations/{_name(image['file_name'])}.xml", [document(image, boxes.get(image["image_id"], []), names)]
    for split, part in selection.splits().items():
        lines = [f"{_name(name)}\n".encode() for name in part.images["file_name"].to_pylist()]
        yield f"ImageSets/Main/{split or 'default'}.txt", lines


def _name(file_name: str) -> str:
    return str(PurePosixPath(file_name).with_suffix(""))


def document(image: Row, boxes: list[Row], names: dict[int, str]) -> bytes:
    """The XML of an image: `boxes` are rows of `annotations`, `names` those of categories by id."""
    root = ElementTree.Element("annotation")
    metadata = dict(image["metadata"] or {})
    _add(root, "folder", metadata.get("folder", "JPEGImages"))
    _add(root, "filename", image["file_name"])
    size = ElementTree.SubElement(root, "size")
    depth = metadata.get("depth", 1 if image["mode"] == "L" else 3)
    for key, found in (("width", image["width"]), ("height", image["height"]), ("depth", depth)):
        _add(size, key, found)
    _add(root, "segmented", metadata.get("segmented", 0))
    for box in boxes:
        _object(root, box, names[box["category_id"]])
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8")
    return text + b"\n"


def _object(root: ElementTree.Element, box: Row, name: str) -> None:
    element = ElementTree.SubElement(root, "object")
    _add(element, "name", name)
    attributes = dict(box["attributes"] or {})
    for key in OBJECT_KEYS:
        if key in attributes:
            _add(element, key, attributes[key])
    x, y, width, height = box["bbox"]
    corners = ElementTree.SubElement(element, "bndbox")
    for key, found in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
        _add(corners, key, int(found) if float(found).is_integer() else repr(float(found)))


def _add(parent: ElementTree.Element, key: str, found: Any) -> None:
    ElementTree.SubElement(parent, key).text = str(found)
