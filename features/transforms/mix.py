"""Several examples of one size in one: mosaic, mixup, copy-paste (pure)."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from features.transforms.example import Example, move
from features.transforms.geometry import GREY, Rect, letterbox
from features.transforms.masks import Mask, rasterise


def mosaic(four: Sequence[Example], centre: tuple[float, float]) -> Example:
    """Four pictures around a point (y, x in (0, 1)) of a picture of their size, each whole, aspect ratio kept.

    Bochkovskiy et al. 2020 (YOLOv4), without cutting.
    """
    height, width = four[0].pixels.shape[:2]
    y, x = (min(max(round(share * side), 1), side - 1) for share, side in zip(centre, (height, width), strict=True))
    tiles = [Rect(0, 0, x, y), Rect(x, 0, width - x, y), Rect(0, y, x, height - y), Rect(x, y, width - x, height - y)]
    canvas = np.full((height, width, 3), GREY, np.uint8)
    parts = []
    for one, tile in zip(four, tiles, strict=True):
        part = move(one, letterbox((height, width), (height, width), tile))
        area = np.s_[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        canvas[area] = part.pixels[area]
        parts.append(part)
    return _joined(canvas, parts)


def mixup(one: Example, other: Example, share: float) -> Example:
    """`share` of one picture over the rest of another, with the objects of both. Zhang et al. 2018; 2019 for boxes."""
    pixels = cv2.addWeighted(one.pixels, share, other.pixels, 1 - share, 0)
    return _joined(pixels.astype(np.uint8, copy=False), [one, other])


def copy_paste(one: Example, other: Example, which: NDArray[np.bool_], min_visible: float) -> Example:
    """Objects of `other` ([N], by their mask, or their box if there is none) over `one`. Ghiasi et al. 2021.

    What they hide all but `min_visible` of is dropped.
    """
    pasted = other.take(which)
    if not len(pasted.labels):
        return one
    size = one.pixels.shape[:2]
    over = np.zeros(size, np.uint8)
    for number in range(len(pasted.labels)):
        over |= _cover(pasted, number, size)
    hidden = np.array([over[_area(box, size)].mean() if over[_area(box, size)].size else 1.0 for box in one.boxes])
    rest = one.take(1 - hidden > min_visible)
    if rest.shapes is not None:
        rest = replace(rest, shapes=[rasterise(shape, *size) & (1 - over) for shape in rest.shapes])
    return _joined(np.where(over[..., None] > 0, other.pixels, one.pixels), [rest, pasted])


def _cover(one: Example, number: int, size: tuple[int, int]) -> Mask:
    if one.shapes is not None and len(one.shapes[number]):
        return rasterise(one.shapes[number], *size)
    mask = np.zeros(size, np.uint8)
    mask[_area(one.boxes[number], size)] = 1
    return mask


def _area(box: NDArray[np.float64], size: tuple[int, int]) -> tuple[slice, slice]:
    """A box (cxcywh in [0, 1]) as rows and columns."""
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    left, top = np.maximum(np.round(low * (size[1], size[0])), 0).astype(int)
    right, bottom = np.maximum(np.round(high * (size[1], size[0])), 0).astype(int)
    return slice(top, bottom), slice(left, right)


def _joined(pixels: NDArray[np.uint8], parts: Sequence[Example]) -> Example:
    most = max(part.keypoints.shape[1] for part in parts)
    points = [np.pad(part.keypoints, ((0, 0), (0, most - part.keypoints.shape[1]), (0, 0))) for part in parts]
    return Example(
        pixels,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(points),
        None if parts[0].shapes is None else [shape for part in parts for shape in part.shapes or []],
    )
