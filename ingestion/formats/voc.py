"""Pascal VOC XML -> what one file says (pure): `lakesight ingest voc`.

A box in the file is (xmin, ymin, xmax, ymax) and, as the VOC2012 devkit says, names its first and last pixel counted
from 1: x = xmin - 1, w = xmax - xmin + 1. Tools that write corners counted from 0 need `first_pixel=0`: x = xmin,
w = xmax - xmin. Numbers need not be whole; nothing is rounded.
"""

import math
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import msgspec

from ingestion.formats.broken import Broken

FirstPixel = Literal[0, 1]
CORNERS = ("xmin", "ymin", "xmax", "ymax")
MAX_ELEMENTS = 2**20
"""A file of more is refused: each takes a hundred bytes of memory, and can be written in four."""
Nested: TypeAlias = "str | dict[str, Nested] | list[Nested]"


@dataclass(frozen=True)
class VocObject:
    """One object: its class and box (`xywh`, pixels of the stored image), or why it has none."""

    name: str | None
    bbox: list[float] | None
    attributes: dict[str, str]
    broken: str | None


@dataclass(frozen=True)
class VocFile:
    """One XML file; width and height in pixels, where it states them."""

    filename: str | None
    width: int | None
    height: int | None
    metadata: dict[str, str]
    objects: list[VocObject]


def parse(data: bytes, first_pixel: FirstPixel) -> VocFile:
    """One annotation file.

    Raises:
        Broken: no XML, declarations of entities and so on, another root than `annotation`, a size that is none.
    """
    root = _tree(data)
    if root.tag != "annotation":
        raise Broken(f"the root element is <{root.tag[:50]}>, not <annotation>")
    try:
        return VocFile(
            filename=(root.findtext("filename") or "").strip() or None,
            width=_side(root, "width"),
            height=_side(root, "height"),
            metadata=_texts(root, {"filename", "object"}),
            objects=[_object(element, first_pixel) for element in root.findall("object")],
        )
    except RecursionError:
        raise Broken("its elements are nested too deeply") from None


def _tree(data: bytes) -> Element:
    """The root; what could grow without bound, or read other files, is refused before it does."""
    builder = TreeBuilder()
    elements = count(1)

    def start(tag: str, attributes: dict[str, str]) -> None:
        if next(elements) > MAX_ELEMENTS:
            raise Broken(f"it has more than {MAX_ELEMENTS:,} elements")
        builder.start(tag, attributes)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_declarations
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
        raise error if isinstance(error, Broken) else Broken(f"it is not XML: {error}") from error


def _refuse_declarations(name: str, system: str | None, public: str | None, inside: bool) -> None:
    if system or public or inside:
        raise Broken("its DOCTYPE names a file or declares entities or the like, which are refused")


def _side(root: Element, name: str) -> int | None:
    stated = (root.findtext(f"size/{name}") or "").strip()
    if not stated:
        return None
    side = _number(stated, f"size/{name}")
    if side != int(side) or side >= 2**31:
        raise Broken(f"size/{name} is {stated[:50]!r}, not a whole number of pixels")
    return int(side) or None  # tools that do not know the size write 0


def _object(element: Element, first_pixel: FirstPixel) -> VocObject:
    name = (element.findtext("name") or "").strip() or None
    attributes = _texts(element, {"name", "bndbox"})
    try:
        if name is None:
            raise Broken("it has no <name>")
        corners = _corners(element)
    except Broken as error:
        return VocObject(name, None, attributes, str(error))
    xmin, ymin, xmax, ymax = corners
    if first_pixel == 1 and (xmin, ymin) == (xmax, ymax):
        return VocObject(name, None, attributes, f"its corners are one point, ({xmin:g}, {ymin:g})")
    bbox = [xmin - first_pixel, ymin - first_pixel, xmax - xmin + first_pixel, ymax - ymin + first_pixel]
    return VocObject(name, bbox, attributes, None)


def _corners(element: Element) -> list[float]:
    boxes = element.findall("bndbox")
    if len(boxes) != 1:
        raise Broken(f"it has {len(boxes)} <bndbox>, not one" if boxes else "it has no <bndbox>")
    return [_number((boxes[0].findtext(corner) or "").strip(), corner) for corner in CORNERS]


def _number(stated: str, name: str) -> float:
    try:
        value = float(stated)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Broken(f"{name} is {stated[:50]!r}, not a number")
    return value


def _texts(element: Element, known: set[str]) -> dict[str, str]:
    """The other children by tag: plain text as it is, what is nested or repeated as JSON."""
    return {tag: _as_text(value) for tag, value in sorted(_children(element, known).items())}


def _children(element: Element, known: set[str]) -> dict[str, Nested]:
    found: dict[str, list[Nested]] = {}
    for child in element:
        if child.tag not in known:
            found.setdefault(child.tag, []).append(
                _children(child, set()) if len(child) else (child.text or "").strip()
            )
    return {tag: values[0] if len(values) == 1 else values for tag, values in found.items()}


def _as_text(value: Nested) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
