"""Bytes of an image file -> uint8 RGB pixels of the stored image (pure).

EXIF orientation is not applied: boxes are in the frame of the stored image. `training/pyfunc.py` repeats these two
functions, because a registered model must stand alone; a test holds them bit-equal.
"""

import io

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


class DecodeError(ValueError):
    """The bytes are no image that can be decoded."""


def decode(content: bytes) -> Pixels:
    """An encoded image -> [H, W, 3] RGB; the first frame, alpha dropped, 16 bits a channel cut to the upper 8.

    Raises:
        DecodeError: no known format, or damaged.
    """
    try:
        if simplejpeg.is_jpeg(content) and simplejpeg.decode_jpeg_header(content)[2] == "YCbCr":
            return simplejpeg.decode_jpeg(content, "RGB")  # type: ignore[no-any-return]  # no stubs
    except ValueError:
        pass  # Pillow has the last word: it takes some files libjpeg only warns about
    return _decode_any(content)


def _decode_any(content: bytes) -> Pixels:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith(("I", "F")):
                return _upper_byte(np.asarray(image))
            if image.mode == "P":
                return np.asarray(image.convert("RGBA").convert("RGB"))
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged file makes Pillow raise anything from OSError to SyntaxError
        raise DecodeError(f"{type(error).__name__}: {error}") from error


def _upper_byte(gray: NDArray[np.generic]) -> Pixels:
    """[H, W] of 16 bits -> [H, W, 3] of 8; Pillow's own conversion clips at 255 and leaves white."""
    byte = (np.clip(gray.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
    return np.repeat(byte[..., None], 3, axis=2)


def resize(pixels: Pixels, size: int) -> Pixels:
    """[H, W, 3] -> [size, size, 3]; the aspect ratio is not kept, so normalised boxes stay as they are."""
    if pixels.shape[:2] == (size, size):
        return pixels
    shrinks = max(pixels.shape[:2]) > size
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, (size, size), interpolation=mode).astype(np.uint8, copy=False)
