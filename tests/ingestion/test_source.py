"""Wrong input is refused with one message, before anything is written."""

import json
import shutil

import pytest

from ingestion.load import ingest_coco
from ingestion.source import shuffle_key
from lakesight.config import Config
from lakesight.errors import UserError


@pytest.fixture
def coco(tmp_path, shapes_coco):
    """A copy of the val split that a test may break."""
    folder = tmp_path / "coco"
    shutil.copytree(shapes_coco / "val", folder / "val")
    shutil.copy(shapes_coco / "instances_val.json", folder)
    return folder


def edit(folder, change):
    path = folder / "instances_val.json"
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))


def orphan(folder):
    def change(file):
        for box in file["annotations"][:7]:
            box["image_id"] = 424242

    edit(folder, change)


CASES = {
    "no file": (
        lambda f: (f / "instances_val.json").unlink(),
        ["cannot be read", "instances_val.json", "--annotations"],
    ),
    "a folder": (
        lambda f: ((f / "instances_val.json").unlink(), (f / "instances_val.json").mkdir()),
        ["cannot be read", "directory"],
    ),
    "not JSON": (lambda f: (f / "instances_val.json").write_text("hello"), ["not JSON", "instances_val.json"]),
    "no COCO": (lambda f: edit(f, lambda d: d.pop("categories")), ["missing required field `categories`"]),
    "no folder": (lambda f: shutil.rmtree(f / "val"), ["image folder cannot be read", "--images"]),
    "empty folder": (lambda f: [p.unlink() for p in (f / "val").iterdir()], ["image folder is empty", "--images"]),
    "wrong folder": (
        lambda f: [p.rename(p.with_suffix(".png")) for p in (f / "val").iterdir()],
        ["none of the 8 images", "val_001001.jpg", "--images"],
    ),
    "orphans": (orphan, ["7 annotation(s)", "annotation 1001 of image", "--set ingest.allow_orphans=true"]),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_leaves_nothing(case, coco, tmp_path):
    breaks, words = CASES[case]
    breaks(coco)
    root = tmp_path / "never"
    with pytest.raises(UserError) as caught:
        ingest_coco(
            root, Config(), images=coco / "val", annotations=coco / "instances_val.json", dataset="d", split=None
        )
    for word in words:
        assert word in str(caught.value)
    assert not root.exists()


def test_an_empty_name_is_refused(coco, tmp_path):
    with pytest.raises(UserError, match="empty name"):
        ingest_coco(
            tmp_path / "never",
            Config(),
            images=coco / "val",
            annotations=coco / "instances_val.json",
            dataset=" ",
            split=None,
        )


def test_shuffle_key_never_changes():
    assert shuffle_key("shapes", 1) == 3381555442644822271
    assert 0 <= shuffle_key("shapes", 2) < 2**63
