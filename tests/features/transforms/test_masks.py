"""COCO's mask encodings against COCO's own decoder; shapes move with their picture."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from features.transforms.geometry import letterbox, stretch
from features.transforms.masks import clip, decode_rle, moved, parse, rasterise


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_rle_is_what_coco_decodes(height, width, share, seed):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    code = coco.encode(np.asfortranarray(mask))
    assert np.array_equal(decode_rle(code["counts"].decode(), height, width), mask)


def test_uncompressed_rle_and_a_wrong_one():
    assert decode_rle([1, 2, 3], 2, 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="no mask of 2 x 2"):
        decode_rle([1, 2], 2, 2)


@pytest.mark.parametrize("geometry", [stretch((60, 80), (120, 96)), letterbox((60, 80), (96, 96))])
def test_polygon_and_bitmap_move_alike(geometry):
    polygon = [10, 10, 70, 12, 60, 50, 20, 45]
    code = coco.merge(coco.frPyObjects([polygon], 60, 80))
    code["counts"] = code["counts"].decode()
    shapes = [moved(parse(json.dumps(s), 60, 80), geometry) for s in ([polygon], code)]
    by_points, by_pixels = (rasterise(shape, *geometry.size).astype(bool) for shape in shapes)
    assert (by_points & by_pixels).sum() / (by_points | by_pixels).sum() > 0.95


@pytest.mark.realdata
def test_real_polygons_are_as_large_as_they_say(data):
    file = json.loads((data / "coco" / "fruits_nuts" / "data" / "trainval.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in file["images"]}
    for a in file["annotations"][:40]:
        height, width = sizes[a["image_id"]]
        mask = rasterise(parse(json.dumps(a["segmentation"]), height, width), height, width)
        assert abs(mask.sum() - a["area"]) < 0.05 * a["area"] + 20


@given(st.integers(0, 200))
def test_a_clipped_polygon_is_the_part_in_the_picture(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    corners = rng.uniform(-0.3, 1.3, 2) + rng.uniform(0.1, 0.9, (9, 1)) * np.c_[np.cos(angles), np.sin(angles)]
    whole, part = rasterise([corners], 200, 200), rasterise(clip([corners]), 200, 200)
    assert all(((polygon >= 0) & (polygon <= 1)).all() for polygon in clip([corners]))
    edge = np.ones_like(whole)
    edge[1:-1, 1:-1] = 0  # cutting leaves lines of no area along the border
    assert (whole[edge == 0] != part[edge == 0]).mean() < 0.005


def test_no_segmentation_is_an_empty_mask():
    assert rasterise(parse(None, 4, 4), 4, 4).sum() == 0


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 1, 3, 1, 3]],
        [[1, 1, 3, 1]],
        {"counts": [3, 14], "size": [4, 4]},
        {"counts": [3, -1, 14], "size": [4, 4]},
        {"counts": [3, 12], "size": [3, 5]},
        {"counts": "o" * 99, "size": [4, 4]},
    ],
    ids=["half a point", "two points", "too many pixels", "a negative run", "of another image", "no end"],
)
def test_what_cannot_be_drawn_is_no_mask(segmentation):
    assert parse(json.dumps(segmentation), 4, 4) == []
    square = [0, 0, 2, 0, 2, 2, 0, 2]
    if isinstance(segmentation, list):
        assert rasterise(parse(json.dumps([*segmentation, square]), 4, 4), 4, 4).sum() > 0
