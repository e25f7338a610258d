"""Image folders per class: what a folder is read into, what lands."""

import os

import numpy as np
import pytest
from PIL import Image

from ingestion.formats.read_folders import read_folders
from ingestion.identity import image_id
from ingestion.load import ingest
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.merge import Change


@pytest.fixture
def folder(tmp_path):
    """A function: images by POSIX path."""

    def make(*images):
        root = tmp_path / "folders"
        for place, name in enumerate(images):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 9, 3), place, np.uint8)).save(path, "png")
        return root

    return make


def read(root, known=None):
    return read_folders(known or {}, images=root, dataset="d", split=None)


def classes(source):
    """file_name -> (split, class)."""
    names = dict(zip(*source.records.categories.select(["category_id", "name"]).to_pydict().values(), strict=True))
    of = {row["image_id"]: names[row["category_id"]] for row in source.records.annotations.to_pylist()}
    images = source.records.images.to_pylist()
    return {row["file_name"]: (row["split"], of[row["image_id"]]) for row in images if row["refused_by"] is None}


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(["cat/a.jpg", "dog/a.jpg"], [(None, "cat"), (None, "dog")], id="classes"),
        pytest.param(["train/cat/a.jpg", "Valid/dog/b.JPG"], [("train", "cat"), ("val", "dog")], id="splits"),
        pytest.param(["train/a.jpg", "bus/b.jpg"], [(None, "train"), (None, "bus")], id="a class called train"),
        pytest.param(["train/a.jpg", "train/old/b.jpg"], [(None, "train"), (None, "train")], id="only that"),
        pytest.param(["train/cat/a.jpg", "other/b.jpg"], [(None, "train"), (None, "other")], id="not all are splits"),
        pytest.param(["cat/x/y/a.jpg", "cat/a b'\n.png"], [(None, "cat"), (None, "cat")], id="nested"),
        pytest.param(
            ["train/cat/x/a.jpg", "test/cat/a.jpg"], [("train", "cat"), ("test", "cat")], id="nested in splits"
        ),
    ],
)
def test_classes_and_splits(folder, images, expected):
    assert classes(read(folder(*images))) == dict(zip(images, expected, strict=True))


@pytest.mark.parametrize(
    ("images", "because_of"),
    [
        (["train/cat/a.jpg", "test/b.jpg"], "test/b.jpg"),  # as Kaggle has them
        (["train/cat/a.jpg", "val/cat/b.jpg", "unlabelled/x/c.jpg"], "unlabelled/x/c.jpg"),
        (["train/cat/a.jpg", "val/cat/b.jpg"], None),
        (["train/a.jpg", "bus/b.jpg"], None),
    ],
)
def test_splits_that_are_taken_for_classes_are_told(folder, images, because_of):
    notes = read(folder(*images)).notes
    assert [because_of in note for note in notes] == ([] if because_of is None else [True])


def test_known_classes_keep_their_ids(folder):
    source = read(folder("cat/a.jpg", "ant/b.jpg"), {"cat": 5, "eel": 2})
    assert source.records.categories.select(["category_id", "name"]).to_pydict() == {
        "category_id": [5, 6], "name": ["cat", "ant"],
    }  # fmt: skip


def test_what_is_no_image_is_passed_over(folder, tmp_path):
    root = folder("cat/a.jpg", "loose.jpg")
    for name in (".DS_Store", "cat/Thumbs.db", "cat/._a.jpg", "cat/notes.txt"):
        (root / name).touch()
    (root / "classes.json").write_text('{"cat": 0}')  # no annotations
    for name in ("pipe.json", "pipe.xml", "pipe.yaml"):  # opened, they would wait for ever
        os.mkfifo(root / name)
    (tmp_path / "out").mkdir()
    (root / "cat/link").symlink_to(tmp_path / "out")
    (root / "cat/out.jpg").symlink_to(tmp_path / "out.jpg")
    (root / "cat/loop.jpg").symlink_to("loop.jpg")
    source = read(root)
    assert classes(source) == dict.fromkeys(["cat/a.jpg", "cat/loop.jpg"], (None, "cat"))  # reading it says more
    refused = {row["refused_because"] for row in source.records.images.to_pylist() if row["refused_by"]}
    assert refused == {
        "loose.jpg is in no folder of a class",
        "cat/link: it is a link out of the folder",
        "cat/out.jpg: it is a link out of the folder",
    }
    assert "8 files" in source.notes[0]
    assert "2 hidden" in source.notes[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, "no image in a folder", id="empty"),
        pytest.param({"a.jpg": ""}, "no image in a folder", id="flat"),
        pytest.param({"JPEGImages/a.jpg": "", "Annotations/a.xml": "<annotation>"}, "ingest voc", id="VOC"),
        pytest.param({"images/a.jpg": "", "labels/a.txt": "0 .5 1 1 1"}, "ingest yolo", id="YOLO labels"),
        pytest.param({"x/a.jpg": "", "data.yaml": "train: x\nnames: [a]"}, "ingest yolo", id="YOLO"),
        pytest.param({"train/a.jpg": "", "instances.json": '{"images": []}'}, "ingest coco", id="COCO"),
        pytest.param({"images/a.jpg": "", "a.xml": "<annotations>"}, "--format cvat", id="CVAT"),
    ],
)
def test_another_format_is_named(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert message in str(caught.value)


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "nowhere")


def test_what_lands(folder, warehouse, spark):
    root = folder("train/cat/a.jpg", "test/dog/a.jpg")
    (root / "test/dog/b.jpg").write_bytes(b"no image")

    def run():
        return ingest(warehouse.root, Config(), "d", lambda known: read(root, known))

    assert run().quarantined == {"image_decodes": 1, "annotation_image_known": 1}
    rows = delta.read(warehouse, "annotations").to_pylist()
    assert {(row["image_id"], row["category_id"], row["bbox"]) for row in rows} == {
        (image_id("train/cat/a.jpg"), 1, None),
        (image_id("test/dog/a.jpg"), 2, None),
    }
    # A picture moves to a new class, and a copy of another one is made.
    (root / "train/ant").mkdir()
    (root / "test/dog/a.jpg").rename(root / "train/ant/a.jpg")
    (root / "train/ant/b.jpg").write_bytes((root / "train/cat/a.jpg").read_bytes())
    report = run()
    assert report.quarantined["image_unique"] == 1
    assert report.changes["images"] == report.changes["annotations"] == Change(added=1, removed=1)
    rows = delta.read(warehouse, "annotations").to_pylist()
    assert {(row["image_id"], row["category_id"]) for row in rows} == {
        (image_id("train/cat/a.jpg"), 1),
        (image_id("train/ant/a.jpg"), 3),
    }
