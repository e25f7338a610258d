"""Panoptic PNGs <-> RLE, against pycocotools."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as oracle

from ingestion.masks import read_mask, read_segments, write_segments
from ingestion.read_masks import read_one


def png(numbers: np.ndarray) -> bytes:
    rgb = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16 & 255], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 7)], ids=str)
def test_masks_are_those_of_pycocotools(shape):
    numbers = np.random.default_rng(0).choice([0, 1, 256, 2**24 - 1], shape).astype(np.uint32)
    found = read_segments(png(numbers), [1, 256, 2**24 - 1])
    assert (found.height, found.width, found.unlisted) == (*shape, [])
    assert set(found.masks) == set(np.unique(numbers).tolist()) - {0}
    for number, mask in found.masks.items():
        expected = oracle.encode(np.asfortranarray(numbers == number, np.uint8))
        rle = json.loads(mask.segmentation)
        assert (rle["size"], rle["counts"].encode()) == (list(shape), expected["counts"])
        assert (mask.area, mask.bbox) == (oracle.area(expected), oracle.toBbox(expected).tolist())
    back = write_segments(*shape, {number: mask.segmentation for number, mask in found.masks.items()})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(back))), np.asarray(Image.open(io.BytesIO(png(numbers)))))


def test_what_is_asked_and_not_there_and_the_other_way_round():
    found = read_segments(png(np.array([[0, 5, 6]], np.uint32)), [5, 7])
    assert (set(found.masks), found.unlisted) == ({5}, [6])


def test_what_is_no_image():
    with pytest.raises(Exception, match="cannot identify"):
        read_segments(b"no image", [1])


def test_what_is_said_of_a_broken_mask_is_the_same_on_every_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (row,) = read_one(str(tmp_path / "a.png"), image_id=1, ordinals=[0], segment_ids=[5])
    assert row["why"].endswith("a.png: it is no PNG")
    (tmp_path / "a.png").unlink()
    (row,) = read_one(str(tmp_path / "a.png"), image_id=1, ordinals=[0], segment_ids=[5])
    assert "No such file" in row["why"]


def test_a_mask_that_is_a_pipe_costs_its_segments(tmp_path):
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    rows = read_one(str(pipe), image_id=1, ordinals=[0, 1], segment_ids=[5, 6])
    assert rows == [{"ordinal": place, "why": f"the mask cannot be read: {pipe}: it is no file"} for place in (0, 1)]


def palette(pixels):
    image = Image.fromarray(pixels.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 0, 0, 2] + [0] * 762)
    return image


PICTURES = {mode: lambda pixels, mode=mode: Image.fromarray(pixels).convert(mode) for mode in ("1", "L", "P", "RGB")}
PICTURES |= {
    "I;16": lambda pixels: Image.fromarray(pixels.astype(np.uint16) * 300),
    "dark blue": lambda pixels: Image.fromarray(pixels[..., None] * np.uint8([0, 0, 1])),
    "dark palette": palette,
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_all_that_is_not_black_is_of_the_object(picture):
    pixels = np.random.default_rng(0).random((7, 5)) < 0.4
    out = io.BytesIO()
    picture(pixels).save(out, "PNG")
    mask, share = read_mask(out.getvalue())
    expected = oracle.encode(np.asfortranarray(pixels, np.uint8))
    assert json.loads(mask.segmentation)["counts"].encode() == expected["counts"]
    assert (mask.area, share) == (oracle.area(expected), pixels.mean())
