"""Tables -> YOLO: parts of the image, to the last bit."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingestion.export import yolo
from ingestion.export.export import Request, export
from lakesight.config import Config

SIDE = st.floats(0.001, 1000)


@given(st.tuples(SIDE, SIDE, SIDE, SIDE), st.integers(0, 9999), st.integers(0, 9999))
def test_a_line_is_the_box(bbox, right, below):
    width, height = int(bbox[0] + bbox[2]) + 1 + right, int(bbox[1] + bbox[3]) + 1 + below
    label, *numbers = yolo.line({"bbox": list(bbox)}, 7, {"width": width, "height": height}).split()
    x, y, w, h = bbox
    assert label == b"7"
    assert [float(n) for n in numbers] == [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]


POLYGON = "[[0,0,8,0,8,4]]"


@pytest.mark.parametrize(
    ("row", "options", "expected"),
    [
        ({"bbox": [-0.5, 1, 4, 2]}, {}, "7 0.1875 0.5 0.5 0.5"),  # it can be said as it is
        ({"bbox": [0, 0, 8.5, 4.5]}, {}, "7 0.5 0.5 1.0 1.0"),
        ({"bbox": [7.75, -0.5, 1, 4.75]}, {}, "7 0.984375 0.5 0.03125 1.0"),
        ({"segmentation": "[[-1,0,9,0,8,5]]"}, {"polygons": True}, "7 0.0 0.0 1.0 0.0 1.0 1.0"),
        ({"keypoints": [9, -1, 2]}, {"poses": True}, "7 0.5 0.5 1.0 1.0 1.0 0.0 2.0"),
    ],
)
def test_no_number_is_beyond_the_image(row, options, expected):
    assert yolo.line({"bbox": [0, 0, 8, 4]} | row, 7, {"width": 8, "height": 4}, **options).decode() == expected + "\n"


@pytest.mark.parametrize(
    ("row", "options", "expected"),
    [
        ({"segmentation": POLYGON}, {"polygons": True}, "7 0.0 0.0 1.0 0.0 1.0 1.0\n"),
        ({"segmentation": POLYGON}, {}, "7 0.5 0.5 1.0 1.0\n"),
        ({"keypoints": [2, 1, 2, 0, 0, 0]}, {"poses": True}, "7 0.5 0.5 1.0 1.0 0.25 0.25 2.0 0.0 0.0 0.0\n"),
    ],
)
def test_polygons_and_poses(row, options, expected):
    assert yolo.line({"bbox": [0, 0, 8, 4]} | row, 7, {"width": 8, "height": 4}, **options).decode() == expected


@pytest.mark.parametrize(
    ("segmentation", "is_one"),
    [(POLYGON, True), (None, False), ("[]", False), ("[[1,2,3,4]]", False), ("[[0,0,1,1,2,2],[0,0,1,1,2,2]]", False),
     ('{"counts":"a","size":[1,1]}', False)],
)  # fmt: skip
def test_one_polygon(segmentation, is_one):
    assert bool(yolo.polygon({"segmentation": segmentation})) is is_one


@pytest.mark.parametrize(
    ("keypoints", "num"), [([[0] * 6, [0] * 6], 2), ([[0] * 6, [0] * 3], 0), ([[0] * 6, None], 0), ([], 0)]
)
def test_keypoints_count_where_all_have_them(keypoints, num):
    assert yolo.keypoints_of_each([{"keypoints": one} for one in keypoints]) == num


@pytest.mark.parametrize(
    ("file_name", "image", "labels"),
    [
        ("a.b.jpg", "images/val/a.b.jpg", "labels/val/a.b.txt"),
        ("x/a.jpg", "images/val/x/a.jpg", "labels/val/x/a.txt"),
        ("images/val/a.jpg", "images/val/a.jpg", "labels/val/a.txt"),
        ("images/val/images/a.jpg", "images/val/images/a.jpg", "images/val/labels/a.txt"),
        ("val/images/a.jpg", "val/images/a.jpg", "val/labels/a.txt"),
        ("images", "images/val/images", "labels/val/images.txt"),
    ],
)
def test_paths(file_name, image, labels):
    assert yolo.image_path("val", file_name) == image
    assert yolo.label_path(image) == labels


def test_a_folder(warehouse, shapes_coco, fill, tmp_path):
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val", images=shapes_coco / "val")
    report = export(warehouse, Config(), "yolo", Request(dataset="shapes", to=tmp_path / "out"))
    names = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert names == {"path": ".", "val": "val.txt", "names": {0: "circle", 1: "square", 2: "triangle"}}
    listed = (tmp_path / "out/val.txt").read_text().split()
    assert all((tmp_path / "out" / name).is_file() for name in listed)
    lines = [path.read_text().splitlines() for path in (tmp_path / "out/labels/val").iterdir()]
    assert (len(lines), len(listed)) == (8, 8)
    assert (len(lines), sum(map(len, lines))) == (8, report.num_annotations)
    assert {path.stem for path in (tmp_path / "out/images/val").iterdir()} == {
        path.stem for path in (tmp_path / "out/labels/val").iterdir()
    }
