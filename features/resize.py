"""Pixels -> the model's input size (pure)."""

import cv2
import numpy as np

from lakesight.decode import Pixels


def resize(pixels: Pixels, size: int) -> Pixels:
    """[H, W, 3] -> [size, size, 3]; the aspect ratio is not kept, so normalised boxes stay as they are."""
    if pixels.shape[:2] == (size, size):
        return pixels
    shrinks = max(pixels.shape[:2]) > size
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, (size, size), interpolation=mode).astype(np.uint8, copy=False)
