"""Pixels -> another size (pure)."""

import cv2
import numpy as np

from lakesight.decode import Pixels


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """[H, W] or [H, W, 3] -> that of `height` x `width`; the aspect ratio is not kept.

    On Intel's and AMD's processors a level of grey may be off by one, whatever the number of threads.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = pixels.shape[0] > height or pixels.shape[1] > width
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.ipp.setUseIPP_NotExact(True)  # a third faster; a setting of this thread
    try:
        return cv2.resize(pixels, (width, height), interpolation=mode).astype(np.uint8, copy=False)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)
