"""Lines of a YOLO label file -> boxes, polygons, keypoints in fractions of the image (pure): `lakesight ingest yolo`.

A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` (a polygon; its box is the smallest around it), or, where
data.yaml states `kpt_shape: [k, d]`, `class cx cy w h` and k points of `x y` (d = 2) or `x y visibility` (d = 3).
"""

import math
from dataclasses import dataclass

import msgspec

from ingestion.formats.broken import Broken

KptShape = tuple[int, int]
ROUNDING = 1e-6
"""Writers print six digits, so that a sum of two may end beyond the edge by one in the last."""
VISIBLE = 2
"""COCO's flag of a point that is labelled and seen; 0 is one that is not labelled."""


@dataclass(frozen=True)
class YoloObject:
    """One line; boxes `xywh` and all else in fractions of the image's width and height, `area` of both."""

    category_id: int
    bbox: list[float]
    area: float
    segmentation: str | None = None
    keypoints: list[float] | None = None


def parse_line(line: str, kpt_shape: KptShape | None) -> YoloObject:
    """One line of a label file.

    Raises:
        Broken: the wrong count of numbers, something else than numbers, or numbers outside of 0..1.
    """
    words = line.split()
    category = _category(words[0])
    values = [_number(word) for word in words[1:]]
    if kpt_shape is not None:
        return _pose(category, values, kpt_shape)
    if len(values) == 4:
        return _box(category, values)
    if len(values) >= 6 and len(values) % 2 == 0:
        return _polygon(category, values)
    raise Broken(f"{len(words)} numbers: a box has 5, a polygon 1 and two for each of 3 or more points")


def _category(word: str) -> int:
    value = _number(word)
    if value != int(value) or not 0 <= value < 2**31:
        raise Broken(f"the class is {word[:50]!r}, not an index")
    return int(value)


def _number(word: str) -> float:
    try:
        value = float(word) if "_" not in word else math.nan  # 1_000 is a number in Python only
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Broken(f"{word[:50]!r} is not a number")
    return value


def _inside(values: list[float]) -> None:
    for value in values:
        if not -ROUNDING <= value <= 1 + ROUNDING:
            raise Broken(f"{value:g} is not in 0..1: coordinates are fractions of the image's width and height")


def _box(category: int, values: list[float]) -> YoloObject:
    _inside(values)
    cx, cy, w, h = values
    return YoloObject(category, [cx - w / 2, cy - h / 2, w, h], w * h)


def _polygon(category: int, values: list[float]) -> YoloObject:
    _inside(values)
    xs, ys = values[::2], values[1::2]
    bbox = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    twice = sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))  # the shoelace formula
    return YoloObject(category, bbox, abs(twice) / 2, msgspec.json.encode([values]).decode())


def _pose(category: int, values: list[float], kpt_shape: KptShape) -> YoloObject:
    count, width = kpt_shape
    if len(values) != 4 + count * width:
        raise Broken(f"{1 + len(values)} numbers: with kpt_shape {list(kpt_shape)} a line has {5 + count * width}")
    box = _box(category, values[:4])
    triples: list[float] = []
    for start in range(4, len(values), width):
        x, y, *stated = values[start : start + width]
        visibility = stated[0] if stated else VISIBLE * bool(x or y)
        if visibility:
            _inside([x, y])
        triples += [x, y, visibility]
    return YoloObject(category, box.bbox, box.area, keypoints=triples)
