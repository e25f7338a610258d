"""Image bytes -> what is known of the image, or why it is refused (pure).

One decode gives the facts of `images` (format, size, hashes) and the figures of `image_properties`.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXIF_ORIENTATION = 274
HASH_SIDE = 8


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one decode says; columns of `images` and `image_properties`, same names and units."""

    pixel_hash: str
    format: str
    mode: str
    width: int
    height: int
    exif_orientation: int
    brightness: float
    contrast: float
    sharpness: float
    entropy: float
    colorfulness: float
    aspect_ratio: float
    dhash: str


@dataclass(frozen=True)
class Refusal:
    """Why bytes are no image that can be used."""

    reason: str


def inspect(content: bytes, max_pixels: int) -> Facts | Refusal:
    """Decode `content` (its first frame) and describe it.

    The header is looked at first: an image of more than `max_pixels` is refused before its pixels are allocated.
    """
    if not content:
        return Refusal("the file is empty")
    try:
        with warnings.catch_warnings():
            # Odd EXIF or palette data warns; whether the pixels decode is what counts, and `max_pixels` is ours.
            warnings.simplefilter("ignore")
            return _decode(content, max_pixels)
    except Exception as error:  # Pillow's decoders raise every kind there is, and one file must not cost the job
        return Refusal(f"{type(error).__name__}: {error}"[:300])


def _decode(content: bytes, max_pixels: int) -> Facts | Refusal:
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if width < 1 or height < 1:
            return Refusal(f"the image is {width} x {height} pixels")
        if width * height > max_pixels:
            return Refusal(f"{width} x {height} pixels are more than ingest.max_pixels={max_pixels}")
        format_, mode = image.format or "", image.mode
        rgb = image.convert("RGB")
        # After the pixels: asking for EXIF may decode, and would swallow what the decoder has to say.
        orientation = _orientation(image)
    # Some decoders correct the header's size while they decode: the pixels are what boxes are drawn on.
    width, height = rgb.size
    return Facts(
        pixel_hash=pixel_hash(rgb),
        format=format_,
        mode=mode,
        width=width,
        height=height,
        exif_orientation=orientation,
        aspect_ratio=width / height,
        **_properties(rgb),
    )


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF of any kind says nothing about orientation, and the pixels may still be fine
        return 1
    return int(value) if value in range(1, 9) else 1


def pixel_hash(rgb: Image.Image) -> str:
    """sha256 of size and RGB pixels: equal for files that differ in encoding or metadata only."""
    digest = hashlib.sha256(b"%d x %d;" % rgb.size)
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def _properties(rgb: Image.Image) -> dict[str, Any]:
    luma = rgb.convert("L")
    share = np.asarray(luma.histogram(), dtype=np.float64) / (luma.width * luma.height)  # [256]
    levels = np.arange(256)
    mean = float(share @ levels)
    seen = share[share > 0]
    return {
        "brightness": mean,
        "contrast": float(share @ (levels - mean) ** 2) ** 0.5,
        "entropy": max(float(-(seen * np.log2(seen)).sum()), 0.0),
        "sharpness": _sharpness(np.asarray(luma, dtype=np.int16)),
        "colorfulness": _colorfulness(np.asarray(rgb)),
        "dhash": _dhash(luma),
    }


def _sharpness(luma: NDArray[np.int16]) -> float:
    """Variance of the 4-neighbour Laplacian of [H, W] luma, borders left out; 0 for less than 3 x 3 pixels."""
    if min(luma.shape) < 3:
        return 0.0
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def _colorfulness(rgb: NDArray[np.uint8]) -> float:
    """Hasler and Suesstrunk 2003, M3, of [H, W, 3] pixels."""
    red, green, blue = (rgb[..., channel].astype(np.int16) for channel in range(3))
    red_green, twice_yellow_blue = red - green, red + green - 2 * blue
    spread = np.hypot(red_green.std(dtype=np.float64), twice_yellow_blue.std(dtype=np.float64) / 2)
    offset = np.hypot(red_green.mean(dtype=np.float64), twice_yellow_blue.mean(dtype=np.float64) / 2)
    return float(spread + 0.3 * offset)


def _dhash(luma: Image.Image) -> str:
    """64 bits: whether each of 8 x 8 cells is darker than its right neighbour."""
    cells: NDArray[np.uint8] = np.asarray(luma.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX))
    return np.packbits(np.less(cells[:, :-1], cells[:, 1:])).tobytes().hex()
