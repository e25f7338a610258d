"""Where a picture goes: points, boxes and pixels say the same, there and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.transforms.geometry import GREY, Geometry, Rect, letterbox, stretch, zoom

sides = st.integers(1, 60)
sizes = st.tuples(sides, sides)
shares = st.floats(0, 1)
mirrors = st.tuples(st.booleans(), st.booleans())


@st.composite
def geometries(draw):
    source, size, mirror = draw(sizes), draw(sizes), draw(mirrors)
    kind = draw(st.sampled_from(["stretch", "letterbox", "zoom"]))
    if kind == "zoom":
        factors = draw(st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)))
        return replace(zoom(source, size, factors, (draw(shares), draw(shares))), mirror=mirror)
    return replace({"stretch": stretch, "letterbox": letterbox}[kind](source, size), mirror=mirror)


@given(geometries(), st.lists(st.tuples(shares, shares, shares, shares), max_size=5))
def test_there_and_back(geometry, rows):
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    assert np.allclose(geometry.back(geometry.points(boxes[:, :2])), boxes[:, :2], rtol=0, atol=1e-9)
    assert np.allclose(geometry.boxes_back(geometry.boxes(boxes)), boxes, rtol=0, atol=1e-9)


@given(sizes, sizes, mirrors, st.lists(st.tuples(shares, shares, shares, shares), max_size=5))
def test_a_stretch_moves_no_box_by_a_bit(source, size, mirror, rows):
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    moved = replace(stretch(source, size), mirror=mirror).boxes(boxes)
    assert np.array_equal(moved[:, :2], np.where(mirror, 1.0 - boxes[:, :2], boxes[:, :2]))
    assert np.array_equal(moved[:, 2:], boxes[:, 2:])


@given(geometries())
def test_the_matrix_says_where_points_go(geometry):
    points = np.random.default_rng(0).random((4, 2))
    by_matrix = np.c_[points, np.ones(4)] @ geometry.matrix.T
    assert np.allclose(by_matrix[:, :2], geometry.points(points))


@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "place", [Rect(0, 0, 40, 20), Rect(4, 6, 20, 10), Rect(0, 0, 80, 40)], ids=["same", "crop", "grow"]
)
def test_a_box_covers_the_pixels_it_covered(mirror, place):
    image = np.zeros((20, 40, 3), np.uint8)
    image[8:12, 10:18] = 255
    crop = place if place.width < 40 else Rect(0, 0, 40, 20)
    size = (place.height, place.width)
    geometry = Geometry((20, 40), size, crop, Rect(0, 0, place.width, place.height), mirror)
    cx, cy, w, h = geometry.boxes(np.array([[14 / 40, 10 / 20, 8 / 40, 4 / 20]]))[0] * np.tile(size[::-1], 2)
    x, y = cx - w / 2, cy - h / 2
    expected = np.zeros((*size, 3), np.uint8)
    expected[round(y) : round(y + h), round(x) : round(x + w)] = 255
    assert np.abs(geometry.warp(image).astype(int) - expected).mean() < (6 if place.width > 40 else 1e-9)


def test_letterbox_keeps_the_aspect_ratio_and_pads_with_grey():
    geometry = letterbox((50, 100), (64, 64))
    out = geometry.warp(np.full((50, 100, 3), 7, np.uint8))
    assert geometry.place == Rect(0, 16, 64, 32)
    assert (out[16:48] == 7).all()
    assert (out[:16] == GREY).all()
    assert (out[48:] == GREY).all()


def test_zooming_in_crops_and_zooming_out_pads():
    assert zoom((100, 100), (50, 50), (2, 2), (0, 1)).crop == Rect(50, 0, 50, 50)
    assert zoom((100, 100), (50, 50), (0.5, 2), (1, 0)).place == Rect(0, 25, 50, 25)
