"""Bytes of an image file -> uint8 RGB pixels of the stored image (pure): what ingest hashes and what models see.

EXIF orientation is not applied: boxes are in the frame of the stored image. `training/pyfunc.py` repeats this, because
a registered model must stand alone; a test holds them bit-equal.
"""

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


class DecodeError(ValueError):
    """The bytes are no image that can be decoded."""


def decode(content: bytes | memoryview) -> Pixels:
    """An encoded image -> [H, W, 3] RGB; the first frame, alpha dropped, 16 bits a channel cut to the upper 8.

    Floats are 0..1, 0..255 or 0..65535: the smallest of these that holds them.

    Raises:
        DecodeError: no known format, or damaged.
    """
    pixels = decode_jpeg(content)
    if pixels is not None:
        return pixels
    try:
        with Image.open(io.BytesIO(content)) as image:
            return to_rgb(image)
    except Exception as error:  # a damaged file makes Pillow raise anything from OSError to SyntaxError
        raise DecodeError(f"{type(error).__name__}: {error}") from error


def decode_jpeg(content: bytes | memoryview) -> Pixels | None:
    """[H, W, 3] of a colour JPEG: Pillow's pixels, in three quarters of its time; None: Pillow has the last word.

    Pillow takes some files that libjpeg only warns about.
    """
    try:
        if simplejpeg.is_jpeg(content) and simplejpeg.decode_jpeg_header(content)[2] == "YCbCr":
            return simplejpeg.decode_jpeg(content, "RGB")  # type: ignore[no-any-return]  # no stubs
    except ValueError:
        pass
    return None


def to_rgb(image: Image.Image) -> Pixels:
    """An opened image -> [H, W, 3] RGB; raises what Pillow's decoders raise, which is any kind of exception."""
    if image.mode == "F":
        return _upper_byte(_sixteen_bits(np.asarray(image)))
    if image.mode.startswith("I"):
        return _upper_byte(np.asarray(image))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA").convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _sixteen_bits(gray: NDArray[np.generic]) -> NDArray[np.float64]:
    """[H, W] of floats on the scale of 16 bits. What white is, no file says: the pixels tell: 1, 255 or 65535."""
    finite = np.where(np.isfinite(gray), gray, 0).astype(np.float64)
    most = finite.max()
    return finite * (65535 if most <= 1 else 257 if most <= 255 else 1)


def _upper_byte(gray: NDArray[np.generic]) -> Pixels:
    """[H, W] of 16 bits -> [H, W, 3] of 8; Pillow's own conversion clips at 255 and leaves white."""
    byte = (np.clip(gray.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
    return np.repeat(byte[..., None], 3, axis=2)
