"""Results files become predictions, once; wrong files change nothing."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lakesight import delta
from lakesight.errors import FormatError, UserError
from serving.importing import import_detections

DETECTIONS = [
    {"image_id": 1002, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5},
    {"image_id": 1001, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5},
    {"image_id": 1002, "category_id": 3, "bbox": [5, 6, 7.25, 8], "score": 0.5, "segmentation": []},
]


@pytest.fixture
def shapes(warehouse, fill, shapes_coco):
    for split in ("train", "val"):
        fill(warehouse, shapes_coco / f"instances_{split}.json", dataset="shapes", split=split)
    return warehouse


@pytest.fixture
def write(tmp_path):
    def write(content, name="results.json"):
        path = tmp_path / name
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def run(warehouse, path, **changed):
    options = {"model": "other", "version": "1", "dataset": "shapes", "split": None} | changed
    return import_detections(warehouse, results=path, **options)


def rows(warehouse):
    return delta.read(warehouse, "predictions").sort_by("image_id").to_pylist()


def test_every_image_of_the_split_is_covered_and_order_is_the_files(shapes, write):
    report = run(shapes, write(DETECTIONS))
    assert (report.splits, report.num_images, report.num_added, report.num_detections) == (("val",), 8, 8, 3)
    found = {row["image_id"]: row for row in rows(shapes)}
    assert sorted(found) == list(range(1001, 1009))
    assert found[1002]["detections"] == [
        {
            "label": 1,
            "category_id": 2,
            "category_name": "square",
            "score": 0.5,
            "bbox": [1, 2, 3, 4],
            "segmentation": None,
        },
        {
            "label": 2,
            "category_id": 3,
            "category_name": "triangle",
            "score": 0.5,
            "bbox": [5, 6, 7.25, 8],
            "segmentation": None,
        },
    ]
    assert found[1003]["detections"] == []
    assert {row["status"] for row in found.values()} == {"ok"}
    assert {row["latency_ms"] for row in found.values()} == {None}


def test_twice_is_once_and_other_splits_are_added(shapes, write):
    path = write(DETECTIONS)
    run(shapes, path)
    version = delta.version(shapes, "predictions")
    assert run(shapes, path).num_added == 0
    assert delta.version(shapes, "predictions") == version
    train = [dict(DETECTIONS[0], image_id=1)]
    assert run(shapes, write(train, "train.json")).num_added == 24
    assert len(rows(shapes)) == 32


def test_other_results_under_the_same_version_are_refused(shapes, write):
    run(shapes, write(DETECTIONS))
    other = write([dict(DETECTIONS[0], score=0.6)], "other.json")
    with pytest.raises(UserError, match="choose another --version"):
        run(shapes, other)
    assert run(shapes, other, version="2").num_added == 8


def test_an_empty_file_needs_a_split(shapes, write):
    with pytest.raises(UserError, match="--split"):
        run(shapes, write([]))
    assert run(shapes, write([]), split="val").num_added == 8


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("not json", FormatError, "not COCO results"),
        ({"images": []}, FormatError, "Expected `array`"),
        ([{"image_id": 1001, "category_id": 1, "score": 1}], FormatError, "bbox"),
        ([dict(DETECTIONS[0], bbox=[1, 2, 3])], FormatError, r"\$\[0\]\.bbox"),
        ([dict(DETECTIONS[0], image_id=2**63)], FormatError, r"\$\[0\]\.image_id"),
        ('[{"image_id": 1001, "category_id": 1, "score": NaN, "bbox": [1, 2, 3, 4]}]', FormatError, "malformed"),
        (b'[{"image_id": 1, "segmentation": {"counts": "\xff"}}]', FormatError, "utf-8"),
        ([dict(DETECTIONS[0], image_id=7777)], UserError, "image_id 7777"),
        ([dict(DETECTIONS[0], category_id=80)], UserError, "category_id 80"),
    ],
    ids=[
        "not JSON",
        "not a list",
        "no bbox",
        "three numbers",
        "an id of 65 bits",
        "NaN",
        "no text",
        "unknown image",
        "unknown category",
    ],
)
def test_wrong_files_are_refused_and_change_nothing(shapes, write, content, error, message):
    before = delta.version(shapes, "predictions")
    with pytest.raises(error, match=message):
        run(shapes, write(content))
    assert delta.version(shapes, "predictions") == before


def test_a_missing_file_and_a_wrong_split_are_refused(shapes, write, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        run(shapes, tmp_path / "none.json")
    with pytest.raises(UserError, match="split 'train'"):
        run(shapes, write(DETECTIONS), split="train")


def mask_of(height, width, rectangle):
    pixels = np.zeros((height, width), np.uint8, order="F")
    x, y, w, h = rectangle
    pixels[y : y + h, x : x + w] = 1
    rle = coco_mask.encode(pixels)
    return {"size": [height, width], "counts": rle["counts"].decode()}


def test_masks_are_kept_and_their_extent_is_the_box(shapes, write):
    record = {"image_id": 1001, "category_id": 1, "score": 0.5, "segmentation": mask_of(96, 96, (10, 20, 30, 5))}
    run(shapes, write([record]))
    (found,) = rows(shapes)[0]["detections"]
    assert found["bbox"] == [10, 20, 30, 5]
    assert json.loads(found["segmentation"]) == record["segmentation"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"segmentation": mask_of(48, 96, (1, 2, 3, 4))}, UserError, "48 x 96, its image 96 x 96 pixels"),
        ({"segmentation": {"size": [96, 96], "counts": "zz"}}, FormatError, "runs of `counts` are"),
        ({"segmentation": {"size": [-1, 96], "counts": ""}}, FormatError, "size"),
        ({"segmentation": {"size": [96, 96], "counts": "\u00e9\u4e2d"}}, FormatError, "segmentation"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5]]}, FormatError, "has polygons"),
        ({"segmentation": []}, FormatError, "neither `bbox` nor `segmentation`"),
        ({}, FormatError, "neither `bbox` nor `segmentation`"),
    ],
    ids=["another size", "other runs", "a negative side", "no runs", "polygons", "no mask", "nothing"],
)
def test_masks_that_mean_nothing_are_refused(shapes, write, changed, error, message):
    with pytest.raises(error, match=message):
        run(shapes, write([{"image_id": 1001, "category_id": 1, "score": 0.5} | changed]))
    assert delta.read(shapes, "predictions").num_rows == 0
