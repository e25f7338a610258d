"""Box conversions: exact round trips, IoU against COCO's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from lakesight import boxes

side = st.floats(0, 4000, allow_nan=False)
box_list = st.lists(st.tuples(side, side, side, side), max_size=8)


@given(box_list)
def test_xywh_xyxy_round_trip(values):
    back = boxes.xyxy_to_xywh(boxes.xywh_to_xyxy(values))
    assert back.shape == (len(values), 4)
    np.testing.assert_allclose(back, np.reshape(values, (-1, 4)), rtol=0, atol=1e-9)


@given(box_list, st.integers(1, 4000), st.integers(1, 4000))
def test_xywh_cxcywh_round_trip(values, height, width):
    back = boxes.cxcywh_to_xywh(boxes.xywh_to_cxcywh(values, height, width), height, width)
    np.testing.assert_allclose(back, np.reshape(values, (-1, 4)), rtol=0, atol=1e-9)


def test_cxcywh_is_centre_and_share():
    centre = boxes.xywh_to_cxcywh([[10, 20, 20, 40]], height=100, width=200)
    np.testing.assert_array_equal(centre, [[0.1, 0.4, 0.1, 0.4]])


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10]),
        ([-5, -5, 5, 5], [0, 0, 5, 5]),
        ([5, 5, 50, 50], [5, 5, 20, 10]),
        ([30, 30, 40, 40], [20, 10, 20, 10]),
    ],
)
def test_clip(box, clipped):
    np.testing.assert_array_equal(boxes.clip_xyxy([box], height=10, width=20), [clipped])


@given(box_list, box_list)
def test_iou_is_cocos(a, b):
    ours = boxes.iou(boxes.xywh_to_xyxy(a), boxes.xywh_to_xyxy(b))
    assert ours.shape == (len(a), len(b))
    if a and b and min(min(x[2:]) for x in a + b) > 1e-3:
        theirs = mask.iou(np.array(a, float), np.array(b, float), [0] * len(b))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_iou_of_empty_boxes_is_zero():
    assert boxes.iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]
