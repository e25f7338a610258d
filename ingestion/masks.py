"""PNGs <-> masks as compressed RLE (pure): panoptic ones, and those of a single object.

In a panoptic PNG a pixel's colour is the number of its segment: R + 256 G + 256^2 B.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

VOID = 0
"""The segment number of pixels that belong to no segment."""


@dataclass(frozen=True)
class Mask:
    """One segment's pixels."""

    segmentation: str
    """COCO JSON: compressed RLE, `size` is [height, width]."""
    area: float
    bbox: list[float]
    """xywh, pixels."""


@dataclass(frozen=True)
class Segments:
    """What a PNG holds: masks by segment number, and numbers that were not asked for."""

    height: int
    width: int
    masks: dict[int, Mask]
    unlisted: list[int]


def read_segments(png: bytes, segment_ids: Sequence[int]) -> Segments:
    """The masks of `segment_ids`, as far as the PNG has them.

    Raises:
        Exception: the bytes do not decode (Pillow's decoders raise every kind there is).
    """
    numbers = _numbers(png)  # [H, W]
    there = np.unique(numbers)
    wanted = set(segment_ids)
    height, width = numbers.shape
    return Segments(
        height,
        width,
        masks={int(n): _mask(numbers == n) for n in there if int(n) in wanted},
        unlisted=[int(n) for n in there if int(n) not in wanted | {VOID}],
    )


def read_mask(png: bytes) -> tuple[Mask, float]:
    """(the mask of an object, whose pixels are all that are not black; the share of the picture that it covers).

    Raises:
        Exception: the bytes do not decode as PNG (any kind), or there is no such pixel.
    """
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        # As grey the darkest colours would be black.
        values = np.asarray(image if image.mode == "L" else image.convert("RGB"))  # [H, W] or [H, W, 3]
    pixels: NDArray[np.bool_] = values > 0 if values.ndim == 2 else values.max(axis=2) > 0
    if not pixels.any():
        raise ValueError("it has no pixel")
    return _mask(pixels), float(pixels.mean())


def why_not(error: Exception) -> str:
    """What an error of the above says of the file, the same on every run."""
    return "it is no PNG" if isinstance(error, UnidentifiedImageError) else str(error)


def _numbers(png: bytes) -> NDArray[np.uint32]:
    with Image.open(io.BytesIO(png)) as image:
        rgb = np.asarray(image.convert("RGB"), dtype=np.uint32)  # [H, W, 3]
    numbers: NDArray[np.uint32] = rgb[..., 0] + 256 * rgb[..., 1] + 256**2 * rgb[..., 2]
    return numbers


def _mask(pixels: NDArray[np.bool_]) -> Mask:
    from hotcoco import mask as rle

    found = rle.encode(np.asfortranarray(pixels, dtype=np.uint8))
    text = msgspec.json.encode({"counts": found["counts"].decode(), "size": found["size"]}).decode()
    return Mask(text, float(rle.area(found)), [float(side) for side in rle.to_bbox(found)])


def write_segments(height: int, width: int, segmentations: Mapping[int, str]) -> bytes:
    """The PNG of segments: number -> COCO JSON of its RLE; pixels of none are void (black)."""
    from hotcoco import mask as rle

    numbers = np.full((height, width), VOID, dtype=np.uint32)
    for number, segmentation in segmentations.items():
        numbers[rle.decode(msgspec.json.decode(segmentation)).astype(bool)] = number
    rgb = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16 & 255], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    return out.getvalue()
