"""[H, W, 3] uint8 RGB pixels -> their hash and the figures of `image_properties` (pure).

The figures are estimates where an image is large: see `MAX_SAMPLE`. They cost what decoding a JPEG does.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image

from lakesight.decode import Pixels

MAX_SAMPLE = 2**15
"""Pixels that sharpness and colourfulness look at: every k-th row (and column), so that no more are left.

The standard error of a figure is then below one percent, far below what tells one image from another.
"""
HASH_SIDE = 8


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Columns of `image_properties`, same names and units."""

    brightness: float
    contrast: float
    sharpness: float
    entropy: float
    colorfulness: float
    dhash: str


def pixel_hash(rgb: Pixels) -> str:
    """XXH3-128 of size and pixels, hex: equal for files that differ in encoding or metadata only."""
    height, width = rgb.shape[:2]
    digest = xxhash.xxh3_128(b"%d x %d;" % (width, height))
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def describe(rgb: Pixels) -> Figures:
    """The figures of an image."""
    luma: Pixels = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]  # uint8 as rgb is
    picture = Image.fromarray(luma)
    share = np.asarray(picture.histogram(), dtype=np.float64) / luma.size  # [256]
    levels = np.arange(256)
    mean = float(share @ levels)
    seen = share[share > 0]
    return Figures(
        brightness=mean,
        contrast=float(share @ (levels - mean) ** 2) ** 0.5,
        entropy=max(float(-(seen * np.log2(seen)).sum()), 0.0),
        sharpness=_sharpness(luma),
        colorfulness=_colorfulness(rgb),
        dhash=_dhash(picture),
    )


def _stride(num_pixels: int, axes: int) -> int:
    """The k of every k-th row (axes 1), or row and column (axes 2)."""
    return max(1, math.ceil(math.pow(num_pixels / MAX_SAMPLE, 1 / axes)))


def _sharpness(luma: Pixels) -> float:
    """Variance of the 4-neighbour Laplacian of [H, W] luma, borders left out; 0 for less than 3 x 3 pixels."""
    if min(luma.shape) < 3:
        return 0.0
    step = _stride(luma.size, 1)
    up, row, down = (luma[first : luma.shape[0] - 2 + first : step].astype(np.int16) for first in range(3))
    laplacian = up[:, 1:-1] + down[:, 1:-1] + row[:, :-2] + row[:, 2:] - 4 * row[:, 1:-1]
    return _moments(laplacian)[1] ** 2


def _colorfulness(rgb: Pixels) -> float:
    """Hasler and Suesstrunk 2003, M3, of [H, W, 3] pixels."""
    step = _stride(rgb.shape[0] * rgb.shape[1], 2)
    red, green, blue = (rgb[::step, ::step, channel].astype(np.float32) for channel in range(3))
    means, spreads = zip(_moments(red - green), _moments((red + green) / 2 - blue), strict=True)
    return math.hypot(*spreads) + 0.3 * math.hypot(*means)


def _moments(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation of [H, W], summed in double precision."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean.item()), float(deviation.item())


def _dhash(luma: Image.Image) -> str:
    """64 bits: whether each of 8 x 8 cells is darker than its right neighbour."""
    # In two steps, by a whole number first: half the time, and a cell's edge is off by less than half a pixel of it.
    cells: Pixels = np.asarray(luma.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX, reducing_gap=2.0))
    return np.packbits(np.less(cells[:, :-1], cells[:, 1:])).tobytes().hex()
