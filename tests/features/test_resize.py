"""Pixels of another size: near what OpenCV computes by itself, and the same however many threads do it."""

import cv2
import numpy as np
import pytest

from features.resize import resize


@pytest.fixture
def threads():
    before = cv2.getNumThreads()
    yield cv2.setNumThreads
    cv2.setNumThreads(before)


@pytest.mark.parametrize("shape", [(480, 640, 3), (37, 53, 3), (64, 48), (1, 7, 3)])
@pytest.mark.parametrize("size", [(800, 1066), (96, 96), (16, 24)])
def test_pixels_are_within_a_level_of_grey(threads, shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    shrinks = shape[0] > size[0] or shape[1] > size[1]
    exact = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    found = []
    for number in (1, 2, 4):
        threads(number)
        found.append(resize(pixels, *size))
    assert found[0].shape == (*size, *shape[2:])
    assert all(np.array_equal(found[0], other) for other in found)
    assert np.abs(found[0].astype(int) - exact).max() <= 1


def test_the_setting_of_others_stays(threads):
    resize(np.zeros((8, 8, 3), np.uint8), 16, 16)
    assert not cv2.ipp.useIPP_NotExact()
