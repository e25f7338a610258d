"""A COCO file as the user names it: where the PNGs of a panoptic one are."""

import json
import os

import pytest

from ingestion.formats.read_coco import read_coco
from lakesight.errors import FormatError, UserError

SEGMENT = {"id": 1, "category_id": 1, "area": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0}
PANOPTIC = [{"image_id": 1, "file_name": "a.png", "segments_info": [SEGMENT]}]


@pytest.fixture
def read(tmp_path):
    def run(annotations, masks=None):
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "a.jpg").write_bytes(b"not looked at")
        file = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
        file["categories"] = [{"id": 1, "name": "cat"}]
        (tmp_path / "p.json").write_text(json.dumps(file))
        names = {"dataset": "d", "split": None, "allow_orphans": False}
        return read_coco(tmp_path / "images", tmp_path / "p.json", masks=masks, **names)

    return run


def test_masks_are_in_the_folder_named_like_the_file(read, tmp_path):
    (tmp_path / "p").mkdir()
    source = read(PANOPTIC)
    assert (source.masks, source.format) == (tmp_path / "p", "coco_panoptic")


def test_masks_are_where_the_user_says(read, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert read(PANOPTIC, tmp_path / "elsewhere").masks == tmp_path / "elsewhere"


def test_masks_are_nowhere(read):
    with pytest.raises(UserError, match="say where they are with --masks"):
        read(PANOPTIC)


@pytest.mark.parametrize("name", ["pipe", "gone", "folder", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="the annotation file cannot be read"):
        read_coco(tmp_path, tmp_path / name, dataset="d", split=None, allow_orphans=False)


@pytest.mark.parametrize("name", ["x" * 10_000, "a\0b", "images/images"])
def test_an_image_that_no_file_could_be_costs_itself_even_if_it_is_the_first(tmp_path, name):
    images = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "a.jpg"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    names = {"dataset": "d", "split": None, "allow_orphans": False}
    assert read_coco(tmp_path / "images", tmp_path / "c.json", **names).records.images.num_rows == 2
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "b.jpg")
    with pytest.raises(UserError, match="none of the 2 images"):
        read_coco(tmp_path / "images", tmp_path / "c.json", **names)


def test_masks_of_a_file_that_has_none(read, tmp_path):
    with pytest.raises(UserError, match="--masks is for panoptic files, and this one has instances"):
        read([{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}], tmp_path)


BOX = {"category_id": 1, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("annotations", "first"),
    [
        ([BOX | {"id": i, "image_id": 7.0} for i in range(4)], "annotation 0 of image 7, .* of image 7, ...$"),
        ([BOX | {"id": "5", "image_id": "b-7"}], "annotation '5' of image 'b-7'$"),
        ([BOX | {"id": 5, "image_id": "007"}], "annotation 5 of image '007'$"),
        ([{"id": 5, "image_id": "b", "caption": "a"}], "annotation 5 of image 'b'$"),
        ([PANOPTIC[0] | {"image_id": "b"}], "segment 1 of image 'b'$"),
    ],
    ids=["numbers", "texts", "mixed", "captions", "panoptic"],
)
def test_annotations_of_no_image_are_named_as_in_the_file(read, annotations, first):
    with pytest.raises(FormatError, match=f"(?m)where:.*p.json: {first}"):
        read(annotations)
