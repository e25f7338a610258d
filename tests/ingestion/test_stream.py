"""Files that come one by one, in any order, changed, broken, late: in the end, what one ingest of the folder gives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from ingestion.load import ingest_coco
from ingestion.look import Watched
from ingestion.stream import checkpoint, stream
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.staging import alone
from lakesight.warehouse import Warehouse

DATA = ("images", "annotations", "categories", "image_properties", "quarantine")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder as it is when everything has come: a JSON and its 24 images, one name with a space and an umlaut."""
    path = shapes.write_coco(tmp_path_factory.mktemp("finished"), split="train", num_images=24, seed=3, size=48)
    shapes.plant_defects(path)
    images = path.parent / "train"
    (images / "train_000005.jpg").rename(images / "zwölf Ö #5%.jpg")
    edit(path, lambda file: file["images"][4].update(file_name="zwölf Ö #5%.jpg"))
    (images / "notes.txt").write_text("not an image")
    path.rename(images / "instances.json")
    return images


def edit(path, change):
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture
def run(warehouse, spark, folder):
    """One `ingest stream`: its last report."""

    def run_once(watch=folder, **options):
        reports = []
        options = {"dataset": "d", "split": "train"} | options
        stream(warehouse.root, Config(), watch=watch, tell=reports.append, **options)
        return reports[-1]

    return run_once


def arrive(finished, folder, *names):
    for name in names:
        shutil.copy(finished / name, folder / name)


def all_names(finished):
    return sorted(path.name for path in finished.iterdir())


def statuses(warehouse):
    rows = delta.read(warehouse, "arrivals").to_pylist()
    return {os.path.basename(row["source_uri"]): row["status"] for row in rows}  # noqa: PTH119


def batch(tmp_path, folder):
    """The warehouse of one `ingest coco` of the folder as it is."""
    root = tmp_path / "batch"
    ingest_coco(root, Config(), images=folder, annotations=folder / "instances.json", dataset="d", split="train")
    return Warehouse(root)


def test_files_that_dribble_in_end_as_one_batch(run, warehouse, finished, folder, tmp_path, contents):
    names = all_names(finished)
    images = [name for name in names if name.endswith(".jpg")]
    arrive(finished, folder, *images[:9], "notes.txt")
    assert run().files == {"ignored": 1, "waiting": 9}

    whole = (finished / "instances.json").read_bytes()
    (folder / "instances.json").write_bytes(whole[: len(whole) // 2])  # still being copied
    report = run()
    assert report.files == {"ignored": 1, "refused": 1, "waiting": 9}
    assert "not JSON" in report.reasons[str(folder / "instances.json")]
    assert delta.count(warehouse, "images") == 0

    arrive(finished, folder, "instances.json", images[9])
    half = (finished / images[10]).read_bytes()
    (folder / images[10]).write_bytes(half[: len(half) // 2])
    report = run()
    assert report.files == {"expected": 13, "ignored": 1, "landed": 11, "refused": 1}
    assert delta.count(warehouse, "images") == 10

    arrive(finished, folder, *names)
    report = run()
    assert report.files == {"ignored": 1, "landed": 23, "refused": 2}  # a broken image and a copy of another
    expected = batch(tmp_path, folder)
    for name in DATA:
        assert contents(warehouse, name) == contents(expected, name), name


@pytest.fixture
def landed(run, finished, folder):
    """All files have come and were taken in."""
    arrive(finished, folder, *all_names(finished))
    run()
    return folder


def test_nothing_new_is_no_commit_and_a_checkpoint_may_be_deleted(run, warehouse, landed, finished):
    before = delta.versions(warehouse, *DATA, "sources", "arrivals")
    run()
    place = checkpoint(warehouse, Watched(landed, "d", "train"))
    assert place.is_dir()
    shutil.rmtree(place)
    shutil.copy(finished / "notes.txt", landed / "more notes.txt")
    assert run().files["ignored"] == 2
    after = delta.versions(warehouse, *DATA, "sources", "arrivals")
    assert after == before | {"arrivals": before["arrivals"] + 1}


def test_touched_changed_moved_and_deleted_files(run, warehouse, landed, finished, tmp_path, contents):
    before = delta.versions(warehouse, *DATA)
    for path in landed.iterdir():
        path.touch()
    run()
    assert delta.versions(warehouse, *DATA) == before

    # Another picture under an old name, with an old time; a box that was corrected.
    picture = shapes.write_coco(tmp_path / "other", split="train", num_images=2, seed=99, size=48).parent / "train"
    shutil.copy(picture / "train_000001.jpg", landed / "train_000002.jpg")
    os.utime(landed / "train_000002.jpg", (1, 1))
    edit(landed / "instances.json", lambda file: file["annotations"][9].update(iscrowd=1))
    changes = run().changes
    assert (changes["images"].updated, changes["annotations"].updated) == (1, 1)
    assert sum(change.added for change in changes.values()) == 0
    expected = batch(tmp_path, landed)
    for name in DATA:
        assert contents(warehouse, name) == contents(expected, name), name

    before = delta.versions(warehouse, "images", "annotations")
    (landed / "train_000007.jpg").unlink()
    (landed / "later").mkdir()
    (landed / "train_000008.jpg").rename(landed / "later" / "train_000008.jpg")
    report = run()
    assert report.examples["gone"] == ["train_000007.jpg", "train_000008.jpg"]
    assert "expected" not in report.files
    assert delta.versions(warehouse, "images", "annotations") == before
    assert statuses(warehouse)["notes.txt"] == "ignored"


def test_files_that_are_as_they_landed_are_not_read_again(run, warehouse, landed, finished):
    late = landed / "train_000003.jpg"
    late.rename(landed / ".train_000003.jpg")
    run()
    for path in landed.glob("*.jpg"):
        path.chmod(0)  # changes ctime: these are looked at again ...
    try:
        assert run().files.get("refused", 0) > 20 or os.geteuid() == 0
    finally:
        for path in landed.glob("*.jpg"):
            path.chmod(0o644)
