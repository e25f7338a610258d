"""What a COCO segmentation says of itself: rings, area, size (pure).

Python, because Spark's own higher-order functions take ten times as long to sum up a polygon.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from lakesight.rle import runs

MOST_PIXELS = 2**62
FACTS = pa.struct(
    [
        ("num_rings", pa.int32()),
        ("rings_valid", pa.bool_()),
        ("area", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("covered", pa.int64()),
    ]
)
"""Polygons: rings, whether each has three whole points or more and an area, the sum of their areas; an RLE: its size,
and the pixels that its runs cover, -1 if they are no run lengths."""


@dataclass(frozen=True)
class _Mask:
    num_rings: int | None = None
    rings_valid: bool | None = None
    area: float | None = None
    height: int | None = None
    width: int | None = None
    covered: int | None = None


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


_Polygons = list[list[float]]


def mask_facts(segmentations: pa.Array) -> pa.Array:
    """`FACTS` of each segmentation, COCO JSON; all NULL for what is no segmentation."""
    decoder: Any = msgspec.json.Decoder(_Polygons | _Rle)
    return pa.array([vars(_facts(decoder, text)) for text in segmentations.to_pylist()], FACTS)


def _facts(decoder: "msgspec.json.Decoder[_Polygons | _Rle]", text: str | None) -> _Mask:
    try:
        mask = decoder.decode(text or "null")
    except (msgspec.DecodeError, RecursionError):  # the latter: nested too deeply
        return _Mask()
    if isinstance(mask, _Rle):
        return _Mask(height=mask.size[0], width=mask.size[1], covered=_covered(mask.counts))
    areas = [ring_area(ring) if len(ring) >= 6 and len(ring) % 2 == 0 else 0.0 for ring in mask]
    return _Mask(num_rings=len(mask), rings_valid=all(areas), area=float(sum(areas)))


def _covered(counts: str | list[int]) -> int:
    try:
        return min(sum(runs(counts)), MOST_PIXELS)
    except ValueError:
        return -1


def ring_area(ring: list[float]) -> float:
    """The area inside a ring x, y, x, y, ... of three points or more (shoelace formula)."""
    x, y = ring[0::2], ring[1::2]
    following = zip(x[1:] + x[:1], y[1:] + y[:1], strict=True)
    return abs(sum(a * d - c * b for a, b, (c, d) in zip(x, y, following, strict=True))) / 2
