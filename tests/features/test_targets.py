"""Annotations -> targets, and flips of pixels and boxes together."""

import numpy as np
import pytest

from features.targets import draw_flips, flip, targets
from lakesight.boxes import cxcywh_to_xywh

ANNOTATIONS = [
    {"bbox": [10.0, 20.0, 30.0, 40.0], "label": 2, "iscrowd": 0},
    {"bbox": [0.0, 0.0, 200.0, 100.0], "label": 1, "iscrowd": 1},
    {"bbox": [150.0, 60.0, 50.0, 40.0], "label": 0, "iscrowd": 0},
]


def test_boxes_are_centres_in_shares_of_the_image_without_crowds():
    boxes, labels = targets(ANNOTATIONS, 100, 200)
    assert boxes.tolist() == [[0.125, 0.4, 0.15, 0.4], [0.875, 0.8, 0.25, 0.4]]
    assert labels.tolist() == [2, 0]


def test_an_image_without_boxes_has_empty_targets():
    boxes, labels = targets([], 100, 200)
    assert boxes.shape == (0, 4)
    assert labels.shape == (0,)


@pytest.mark.parametrize(("horizontal", "vertical"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_flipped_box_covers_the_flipped_pixels(horizontal, vertical):
    image = np.zeros((10, 20, 3), np.uint8)
    image[2:5, 4:10] = 255
    boxes, _ = targets([{"bbox": [4.0, 2.0, 6.0, 3.0], "label": 0, "iscrowd": 0}], 10, 20)
    turned, moved = flip(image, boxes, horizontal, vertical)
    x, y, width, height = cxcywh_to_xywh(moved, 10, 20)[0].round().astype(int)
    covered = np.zeros_like(image)
    covered[y : y + height, x : x + width] = 255
    assert np.array_equal(turned, covered)


def test_flips_depend_on_seed_epoch_and_image_only():
    drawn = {(seed, epoch, i): draw_flips(seed, epoch, i) for seed in (0, 1) for epoch in (0, 1) for i in range(50)}
    assert drawn == {key: draw_flips(*key) for key in drawn}
    assert len(set(drawn.values())) == 4
    assert [drawn[0, 0, i] for i in range(50)] != [drawn[0, 1, i] for i in range(50)]
    assert [drawn[0, 0, i] for i in range(50)] != [drawn[1, 0, i] for i in range(50)]
