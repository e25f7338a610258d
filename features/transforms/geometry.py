"""Where a picture goes: a rectangle of it, onto a rectangle of the output, mirrored or not (pure).

All points are in [0, 1] of their picture, so a picture that is only resized leaves them, and boxes, bit for bit as they
are. Rectangles are whole pixels: what `warp` does to pixels and `matrix` says of points is exactly the same.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.resize import resize
from lakesight.boxes import Boxes
from lakesight.decode import Pixels

GREY = 114
"""Of what no picture covers; YOLO's customary value."""
Points = NDArray[np.float64]
Resize = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class Rect:
    """Whole pixels: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Geometry:
    """`crop` of a picture of `source` pixels, stretched onto `place` of an output of `size`; all that then mirrored."""

    source: tuple[int, int]
    """Height, width."""
    size: tuple[int, int]
    """Height, width."""
    crop: Rect
    place: Rect
    mirror: tuple[bool, bool] = (False, False)
    """Left to right, top to bottom."""

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """[3, 3]: homogeneous points of the source -> of the output, both in [0, 1]."""
        found = np.eye(3)
        ends = (self.crop.x, self.place.x), (self.crop.y, self.place.y)
        spans = (self.crop.width, self.place.width), (self.crop.height, self.place.height)
        for axis, ((start, to), (span, onto)) in enumerate(zip(ends, spans, strict=True)):
            source, size = self.source[1 - axis], self.size[1 - axis]
            scale = (onto / size) / (span / source)
            shift = to / size - scale * (start / source)
            found[axis, axis], found[axis, 2] = (-scale, 1 - shift) if self.mirror[axis] else (scale, shift)
        return found

    @property
    def whole(self) -> bool:
        """Whether nothing of the source is cut off."""
        return self.crop == Rect(0, 0, self.source[1], self.source[0])

    def points(self, xy: ArrayLike) -> Points:
        """[..., 2] of the source -> [..., 2] of the output; outside [0, 1] where they were cut off."""
        return np.asarray(xy, np.float64) * np.diag(self.matrix)[:2] + self.matrix[:2, 2]

    def back(self, xy: ArrayLike) -> Points:
        """[..., 2] of the output -> [..., 2] of the source."""
        return (np.asarray(xy, np.float64) - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]

    def boxes(self, cxcywh: Boxes) -> Boxes:
        """[N, 4] cxcywh of the source -> of the output, not cut at its border."""
        sides = cxcywh[:, 2:] * np.abs(np.diag(self.matrix)[:2])
        return np.concatenate([self.points(cxcywh[:, :2]), sides], axis=1)

    def boxes_back(self, cxcywh: Boxes) -> Boxes:
        """[N, 4] cxcywh of the output -> of the source."""
        sides = cxcywh[:, 2:] / np.abs(np.diag(self.matrix)[:2])
        return np.concatenate([self.back(cxcywh[:, :2]), sides], axis=1)

    def warp(self, pixels: Pixels, *, fill: int = GREY) -> Pixels:
        """[H, W] or [H, W, 3] of the source -> of the output; may be a view."""
        crop, place = self.crop, self.place
        part = pixels[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
        part = resize(part, place.height, place.width)
        if (place.height, place.width) != self.size:
            canvas = np.full((*self.size, *pixels.shape[2:]), fill, np.uint8)
            canvas[place.y : place.y + place.height, place.x : place.x + place.width] = part
            part = canvas
        return part[:: -1 if self.mirror[1] else 1, :: -1 if self.mirror[0] else 1]


def stretch(source: tuple[int, int], size: tuple[int, int]) -> Geometry:
    """All of the picture onto all of the output; its aspect ratio is not kept."""
    return Geometry(source, size, Rect(0, 0, source[1], source[0]), Rect(0, 0, size[1], size[0]))


def fitted(source: tuple[int, int], size: tuple[int, int], how: Resize) -> Geometry:
    """All of the picture on the output, as `model.resize` says."""
    return letterbox(source, size) if how == "letterbox" else stretch(source, size)


def letterbox(source: tuple[int, int], size: tuple[int, int], within: Rect | None = None) -> Geometry:
    """All of the picture, its aspect ratio kept, in the middle of the output (or of a rectangle of it)."""
    within = within or Rect(0, 0, size[1], size[0])
    scale = min(within.height / source[0], within.width / source[1])
    height, width = (max(round(side * scale), 1) for side in source)
    place = Rect(within.x + (within.width - width) // 2, within.y + (within.height - height) // 2, width, height)
    return replace(stretch(source, size), place=place)


def zoom(
    source: tuple[int, int], size: tuple[int, int], factors: tuple[float, float], at: tuple[float, float]
) -> Geometry:
    """Stretched, then (vertically, horizontally) magnified `factors` times; below 1: shrunk, with grey around it.

    `at`: where the visible part, or the shrunk picture, lies: from 0 (top, left) to 1.
    """
    start, span, to, onto = ([0, 0] for _ in range(4))
    for axis, (factor, share) in enumerate(zip(factors, at, strict=True)):
        span[axis] = min(max(round(source[axis] / factor), 1), source[axis])
        onto[axis] = min(max(round(size[axis] * factor), 1), size[axis])
        start[axis] = round((source[axis] - span[axis]) * share)
        to[axis] = round((size[axis] - onto[axis]) * share)
    return Geometry(source, size, Rect(start[1], start[0], span[1], span[0]), Rect(to[1], to[0], onto[1], onto[0]))
