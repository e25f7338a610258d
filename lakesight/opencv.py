"""OpenCV, told to work in the thread that calls it."""

from functools import cache

import cv2


@cache
def one_thread() -> None:
    """Set it for this process, once.

    Images are many, and the processes that read them as many as there are cores. OpenCV's own threads spin while they
    wait for the next call: an image that is decoded and resized costs a third more CPU with two of them.
    """
    cv2.setNumThreads(1)
