"""Augmented examples: what is marked stays on what it marks; the same numbers give the same picture."""

import dataclasses

import numpy as np
import pytest

from features.resize import resize
from features.transforms.augment import augmented, generator, mixed
from features.transforms.example import example
from features.transforms.geometry import GREY
from features.transforms.masks import rasterise
from features.transforms.mix import copy_paste, mixup, mosaic
from lakesight.boxes import xywh_to_cxcywh
from lakesight.sections import AugmentConfig

OFF = {"horizontal_flip": 0.0, "vertical_flip": 0.0}
CHANGED = {
    "horizontal_flip": 1.0,
    "vertical_flip": 1.0,
    "scale": (2.0, 2.0),
    "aspect": 0.5,
    "min_visible": 1.0,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.9,
    "hue": 0.5,
    "mosaic": 1.0,
    "mixup": 1.0,
    "copy_paste": 1.0,
    "keypoint_swaps": ((0, 1),),
}
NEEDS = {"min_visible": {"scale": (2.0, 2.0)}, "keypoint_swaps": {"horizontal_flip": 1.0}}
SIZE = (48, 64)


def picture(seed=0):
    """A grey picture with two objects, each of its own colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 110, (96, 128, 3), dtype=np.uint8)
    annotations = []
    for label, colour in enumerate(((250, 10, 10), (10, 10, 250))):
        x, y = rng.integers(4, 60, 2).tolist()
        pixels[y : y + 24, x + 60 * label : x + 60 * label + 8] = colour
        x += 60 * label
        annotations.append(
            {
                "bbox": [x, y, 8, 24],
                "label": label,
                "iscrowd": 0,
                "segmentation": f"[[{x},{y},{x + 8},{y},{x + 8},{y + 24},{x},{y + 24}]]",
                "keypoints": [x, y, 2, x + 8, y + 24, 1],
            }
        )
    return example(pixels, [*annotations, annotations[0] | {"iscrowd": 1}], masks=True)


def covered(one, label):
    """How much of an object's colour lies in its box and in its mask, and how much of these it fills."""
    colour = one.pixels[..., 0 if label == 0 else 2].astype(int) - one.pixels[..., 1]
    there = colour > 100
    (number,) = np.flatnonzero(one.labels == label)
    height, width = there.shape
    cx, cy, w, h = one.boxes[number] * (width, height, width, height)
    box = np.zeros_like(there)
    box[round(cy - h / 2) : round(cy + h / 2), round(cx - w / 2) : round(cx + w / 2)] = True
    return [(there & m).sum() / (there | m).sum() for m in (box, rasterise(one.shapes[number], height, width) > 0)]


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(**OFF),
        AugmentConfig(scale=(0.5, 0.9), aspect=0.3),
        AugmentConfig(scale=(1.0, 1.4), min_visible=0.99),
    ],
    ids=["resize", "out", "in"],
)
@pytest.mark.parametrize("seed", range(4))
def test_boxes_and_masks_stay_on_their_objects(config, seed):
    one = augmented(picture(seed), generator(seed, 0, 1), (192, 256), config)
    for label in one.labels.tolist():
        assert min(covered(one, label)) > 0.75, (label, covered(one, label))


def test_flips_alone_are_the_resized_picture_mirrored():
    """What the demo does, said in other words."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    annotation = {"bbox": [13.3, 7.7, 31.1, 20.2], "label": 3, "iscrowd": 0}
    seen = set()
    for image_id in range(12):
        one = augmented(example(pixels, [annotation]), generator(5, 2, image_id), SIZE, AugmentConfig())
        left_right, top_bottom = np.random.default_rng([5, 2, image_id]).random(2) < 0.5
        expected = resize(pixels, *SIZE)[:: -1 if top_bottom else 1, :: -1 if left_right else 1]
        assert np.array_equal(one.pixels, expected)
        box = xywh_to_cxcywh([annotation["bbox"]], 90, 120)
        box[:, :2] = np.where([left_right, top_bottom], 1.0 - box[:, :2], box[:, :2])
        assert np.array_equal(one.boxes, box)
        seen.add((bool(left_right), bool(top_bottom)))
    assert len(seen) == 4


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AugmentConfig)])
def test_every_setting_changes_something(field):
    plain = AugmentConfig(**(OFF | NEEDS.get(field, {})))
    changed = dataclasses.replace(plain, **{field: CHANGED[field]})

    def outcome(config):
        rngs = [generator(0, 0, i) for i in range(4)]
        batch = [augmented(picture(i), rng, SIZE, config) for i, rng in enumerate(rngs)]
        parts = [
            (one.pixels.tobytes(), one.boxes.tobytes(), one.keypoints.tobytes()) for one in mixed(batch, rngs, config)
        ]
        return parts

    assert outcome(plain) == outcome(plain)
    assert outcome(plain) != outcome(changed)


def test_keypoints_follow_and_change_names_in_a_mirror():
    config = AugmentConfig(horizontal_flip=1.0, vertical_flip=0.0, keypoint_swaps=((0, 1),))
    before = picture()
    after = augmented(before, generator(0, 0, 0), SIZE, config).keypoints
    assert np.allclose(after[:, ::-1, 0], 1 - before.keypoints[..., 0])
    assert np.array_equal(after[:, ::-1, 1:], before.keypoints[..., 1:])


def test_objects_that_are_cut_off_are_dropped_and_others_cut():
    config = AugmentConfig(scale=(3.0, 3.0), min_visible=0.2, **OFF)
    counts = []
    for seed in range(20):
        one = augmented(picture(seed), generator(seed, 0, 0), SIZE, config)
        counts.append(len(one.labels))
        assert (one.boxes[:, :2] - one.boxes[:, 2:] / 2 >= -1e-12).all()
        assert (one.boxes[:, :2] + one.boxes[:, 2:] / 2 <= 1 + 1e-12).all()
        assert len(one.shapes) == len(one.keypoints) == len(one.boxes) == len(one.labels)
    assert {0, 1} <= set(counts)


def test_a_mosaic_has_all_objects_of_four():
    four = [picture(seed) for seed in range(4)]
    one = mosaic(four, (0.4, 0.6))
    assert one.pixels.shape == four[0].pixels.shape
    assert one.labels.tolist() == [0, 1] * 4
    assert one.boxes[:2, 0].max() < 0.6 < one.boxes[2:4, 0].min()
    assert one.boxes[:2, 1].max() < 0.4 < one.boxes[4:, 1].min()
    assert len(one.shapes) == 8


def test_what_was_cut_off_does_not_come_back_in_a_mosaic():
    config = AugmentConfig(scale=(2.5, 2.5), min_visible=0.0)
    four = [augmented(picture(seed), generator(seed, 0, 0), SIZE, config) for seed in range(8)]
    for one in (mosaic(four[:4], (0.5, 0.5)), mosaic(four[4:], (0.3, 0.7))):
        for box, shape in zip(one.boxes * np.tile(SIZE[::-1], 2), one.shapes, strict=True):
            y, x = np.nonzero(rasterise(shape, *SIZE))
            if len(x):
                assert x.min() + 1 >= box[0] - box[2] / 2 - 1
                assert x.max() <= box[0] + box[2] / 2 + 1
                assert y.min() + 1 >= box[1] - box[3] / 2 - 1
                assert y.max() <= box[1] + box[3] / 2 + 1


def test_mixup_has_both():
    one, other = picture(0), picture(1)
    both = mixup(one, other, 0.75)
    assert np.abs(both.pixels - (0.75 * one.pixels + 0.25 * other.pixels)).max() <= 0.5
    assert len(both.labels) == 4


def test_pasted_objects_hide_what_is_under_them():
    one, other = picture(0), picture(1)
    pasted = copy_paste(one, other, np.array([True, False]), 0.35)
    assert pasted.labels.tolist() == [0, 1, 0]
    over = rasterise(pasted.shapes[-1], *pasted.pixels.shape[:2]).astype(bool)
    assert np.array_equal(pasted.pixels[over], other.pixels[over])
    assert np.array_equal(pasted.pixels[~over], one.pixels[~over])
    assert not any((rasterise(shape, *over.shape).astype(bool) & over).any() for shape in pasted.shapes[:-1])
    onto_itself = copy_paste(one, one, np.array([True, True]), 0.35)
    assert onto_itself.labels.tolist() == [0, 1]
    assert copy_paste(one, other, np.array([False, False]), 0.35) is one


def test_an_image_without_objects_goes_through_everything():
    config = AugmentConfig(scale=(0.5, 2.0), mosaic=1.0, mixup=1.0, copy_paste=1.0, hue=0.1)
    empty = example(np.zeros((9, 7, 3), np.uint8), [], masks=True)
    rng = generator(0, 0, 0)
    (one,) = mixed([augmented(empty, rng, SIZE, config)], [rng], config)
    assert one.pixels.shape == (*SIZE, 3)
    assert one.boxes.shape == (0, 4)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.7, 0.7), (1.6, 1.6)])
def test_a_letterbox_keeps_the_aspect_ratio_at_every_scale(scale):
    one, config = picture(), AugmentConfig(**OFF, scale=scale, min_visible=0.1)
    done = augmented(one, generator(0, 0, 1), (60, 120), config, "letterbox")
    assert len(done.boxes) > 0
    whole = one.boxes[one.labels == done.labels[0]][0]
    pixels = whole[2:] * (128, 96) * (60 / 96) * scale[0]  # the picture is 60 high and 80 wide of 120
    found = done.boxes[0, 2:] * (120, 60)
    assert (found < pixels + 2).all()
    if scale[0] <= 1:  # nothing is cut off
        assert (found > pixels - 2).all()
    if scale == (1.0, 1.0):
        assert (done.pixels[:, :20] == GREY).all()
        assert (done.pixels[:, 100:] == GREY).all()
