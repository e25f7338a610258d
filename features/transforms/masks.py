"""COCO segmentations -> shapes that can be moved, and from those to masks when somebody wants pixels (pure).

Polygons stay points for as long as they can: moving them is exact and costs nothing. An RLE becomes a bitmap.
"""

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from features.transforms.geometry import Geometry, Points
from lakesight.rle import runs

Mask = NDArray[np.uint8]
Shape = list[Points] | Mask
"""Polygons, each [P, 2] xy in [0, 1]; or a bitmap [H, W] of 0 and 1."""
SHIFT = 4
"""Polygon corners are drawn to 1/16 of a pixel."""


def parse(segmentation: str | None, height: int, width: int) -> Shape:
    """COCO JSON (polygons, or RLE) of a picture of `height` x `width` -> a shape; none: no polygons.

    Half a point is no polygon, and an RLE that does not cover the picture is no mask: `check` warns of both.
    """
    found = msgspec.json.decode(segmentation) if segmentation else []
    if isinstance(found, dict):
        try:
            return decode_rle(found["counts"], height, width) if found["size"] == [height, width] else []
        except ValueError:
            return []
    whole = (polygon for polygon in found if len(polygon) >= 6 and len(polygon) % 2 == 0)
    return [np.array(polygon, np.float64).reshape(-1, 2) / (width, height) for polygon in whole]


def decode_rle(counts: str | list[int], height: int, width: int) -> Mask:
    """Run lengths, column by column, beginning with zeros -> [H, W] of 0 and 1.

    Raises:
        ValueError: they are no run lengths, or of another number of pixels.
    """
    lengths = runs(counts)
    if sum(lengths) != height * width:
        raise ValueError(f"an RLE of {sum(lengths)} pixels is no mask of {height} x {width}")
    flat = np.repeat(np.arange(len(lengths), dtype=np.uint8) & 1, lengths)
    return flat.reshape(width, height).T


def moved(shape: Shape, geometry: Geometry) -> Shape:
    """The shape in the frame of the geometry's output."""
    if isinstance(shape, list):
        return [geometry.points(polygon) for polygon in shape]
    return (geometry.warp(shape * np.uint8(255), fill=0) > 127).astype(np.uint8)


def clip(shape: Shape) -> Shape:
    """The part of the shape that is in the picture; a bitmap is always."""
    if isinstance(shape, np.ndarray):
        return shape
    clipped = (_clip_polygon(polygon) for polygon in shape)
    return [polygon for polygon in clipped if len(polygon)]


def _clip_polygon(polygon: Points) -> Points:
    """[P, 2] cut to [0, 1], one border after the other (Sutherland and Hodgman 1974)."""
    for axis, border, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        inside = sign * (polygon[:, axis] - border) >= 0
        if inside.all():
            continue
        after = np.roll(polygon, -1, axis=0)
        crosses = inside != np.roll(inside, -1)
        span = np.where(crosses, after[:, axis] - polygon[:, axis], 1.0)
        crossings = polygon + (after - polygon) * ((border - polygon[:, axis]) / span)[:, None]
        crossings[:, axis] = border
        kept = np.stack([inside, crosses], axis=1).ravel()
        polygon = np.stack([polygon, crossings], axis=1).reshape(-1, 2)[kept]
    return polygon


def rasterise(shape: Shape, height: int, width: int) -> Mask:
    """[height, width] of 0 and 1; a bitmap must have that size."""
    if isinstance(shape, np.ndarray):
        return shape
    mask = np.zeros((height, width), np.uint8)
    for polygon in shape:
        # Pixel (0, 0) covers [0, 1): its centre is at 0.5.
        corners = np.round((polygon * (width, height) - 0.5) * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=SHIFT)
    return mask
