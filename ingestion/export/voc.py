"""Tables -> Pascal VOC: an XML file an image, and the lists of `ImageSets` (pure).

`JPEGImages/<file_name>`, `Annotations/<name>.xml`, `ImageSets/Main/<split>.txt`; images without a split are listed in
`trainval.txt` only. VOC counts pixels from 1 and names the first and the last one inside: xmin = x + 1, ymin = y + 1,
xmax = x + width, ymax = y + height. Further keys of images and boxes are elements of that name.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.export.selection import File, Row, Selection, as_line, in_file_order, rows_of

NO_SPLIT = "trainval"
_TAG = re.compile(r"[A-Za-z_][\w.-]*")
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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
        mine = in_file_order(image["file_name"], boxes.get(image["image_id"], []))
        yield f"Annotations/{_name(image['file_name'])}.xml", [document(image, mine, names)]
    for split, part in selection.splits().items():
        lines = [as_line(_name(name)) for name in part.images["file_name"].to_pylist()]
        yield f"ImageSets/Main/{split or NO_SPLIT}.txt", lines


def _name(file_name: str) -> str:
    return str(PurePosixPath(file_name).with_suffix(""))


def document(image: Row, boxes: list[Row], names: Mapping[int, str]) -> bytes:
    """The XML of an image: `boxes` are rows of `annotations`, `names` those of categories by id."""
    stated = dict(image["metadata"] or {})
    size = _nested(stated.pop("size", ""))
    size = dict(size) if isinstance(size, dict) else {}
    size.setdefault("depth", "1" if image["mode"] == "L" else "3")
    root = ElementTree.Element("annotation")
    _add(root, "folder", stated.pop("folder", "JPEGImages"))
    _add(root, "filename", image["file_name"])
    _add(root, "size", {"width": image["width"], "height": image["height"]} | _without(size, "width", "height"))
    _add(root, "segmented", stated.pop("segmented", "0"))
    _add_all(root, stated)
    for box in boxes:
        _object(root, box, names[box["category_id"]])
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8")
    return text + b"\n"


def _object(root: ElementTree.Element, box: Row, name: str) -> None:
    element = ElementTree.SubElement(root, "object")
    _add(element, "name", name)
    _add_all(element, box["attributes"] or {})
    x, y, width, height = box["bbox"]
    corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
    _add(element, "bndbox", {key: int(side) if float(side).is_integer() else side for key, side in corners.items()})


def _add_all(parent: ElementTree.Element, texts: Mapping[str, str]) -> None:
    for key, text in texts.items():
        if _TAG.fullmatch(key):
            _add(parent, key, _nested(text))


def _nested(text: str) -> Any:
    """Elements inside of an element are kept as a JSON object, repeated ones as a list."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _add(parent: ElementTree.Element, key: str, found: Any) -> None:
    for one in found if isinstance(found, list) else [found]:
        element = ElementTree.SubElement(parent, key)
        if isinstance(one, dict):
            for name, inner in one.items():
                if _TAG.fullmatch(name):
                    _add(element, name, inner)
        else:
            element.text = _NOT_XML.sub("\ufffd", str(one))


def _without(record: Row, *keys: str) -> Row:
    return {key: found for key, found in record.items() if key not in keys}
