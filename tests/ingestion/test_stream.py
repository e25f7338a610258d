"""Files that come one by one, in any order, changed, broken, late: in the end, what one ingest of the folder gives."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from ingestion import load
from ingestion.load import ingest_coco
from ingestion.stream import checkpoint, stream
from ingestion.watched import Watched
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.staging import alone
from lakesight.warehouse import Warehouse

DATA = ("images", "annotations", "categories", "image_properties", "quarantine")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder as it is when everything has come: a JSON and its 24 images, one name with a line break, a space and an umlaut."""
    path = shapes.write_coco(tmp_path_factory.mktemp("finished"), split="train", num_images=24, seed=3, size=48)
    shapes.plant_defects(path)
    images = path.parent / "train"
    (images / "train_000005.jpg").rename(images / "zwölf\nÖ #5%.jpg")
    edit(path, lambda file: file["images"][4].update(file_name="zwölf\nÖ #5%.jpg"))
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


@pytest.fixture
def statuses(warehouse, folder):
    """A function: path in the folder -> `arrivals.status`."""

    def read():
        rows = delta.read(warehouse, "arrivals", columns=["source_uri", "status"]).to_pylist()
        return {os.path.relpath(row["source_uri"], folder): row["status"] for row in rows}

    return read


def batch(root, folder):
    """The warehouse of one `ingest coco` of the folder as it is."""
    ingest_coco(root, Config(), images=folder, annotations=folder / "instances.json", dataset="d", split="train")
    return Warehouse(root)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, finished, spark):
    """One `ingest coco` of all files."""
    return batch(tmp_path_factory.mktemp("expected") / "root", finished)


@pytest.fixture
def same(contents):
    """A function: the tables of two warehouses are equal, but for the folder that the files were in."""

    def compare(warehouse, folder, other, other_folder):
        for name in DATA:
            ours = repr(contents(warehouse, name)).replace(str(folder), "")
            assert ours == repr(contents(other, name)).replace(str(other_folder), ""), name

    return compare


def test_files_that_dribble_in_end_as_one_batch(run, warehouse, finished, folder, expected, same):
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
    same(warehouse, folder, expected, finished)


@pytest.fixture
def landed(run, finished, folder):
    """All files have come and were taken in."""
    arrive(finished, folder, *all_names(finished))
    run()
    return folder


def test_touched_changed_moved_and_deleted_files(run, warehouse, landed, statuses, tmp_path, same):
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
    same(warehouse, landed, batch(tmp_path / "batch", landed), landed)

    before = delta.versions(warehouse, "images", "annotations")
    (landed / "train_000007.jpg").unlink()
    (landed / "later").mkdir()
    (landed / "train_000008.jpg").rename(landed / "later" / "train_000008.jpg")
    report = run()
    assert report.examples["gone"] == ["train_000007.jpg", "train_000008.jpg"]
    assert "expected" not in report.files
    assert delta.versions(warehouse, "images", "annotations") == before
    assert statuses()["notes.txt"] == "ignored"


def test_what_is_known_is_not_read_again_and_a_checkpoint_may_be_deleted(run, warehouse, landed, finished, monkeypatch):
    asked = []
    really = load.read_images

    def counting(session, requests, *more):
        asked.append(requests.num_rows)
        return really(session, requests, *more)

    monkeypatch.setattr(load, "read_images", counting)
    before = delta.versions(warehouse, *DATA, "sources", "arrivals")
    run()
    assert delta.versions(warehouse, *DATA, "sources", "arrivals") == before

    place = checkpoint(warehouse, Watched(landed, "d", "train"))
    assert place.is_dir()
    shutil.rmtree(place)
    shutil.copy(finished / "notes.txt", landed / "more notes.txt")
    assert run().files["ignored"] == 2
    after = delta.versions(warehouse, *DATA, "sources", "arrivals")
    assert after == before | {"arrivals": before["arrivals"] + 1}
    assert asked == []

    (landed / "train_000003.jpg").touch()
    run()
    assert asked == [3]  # it, and the two that are refused
    run(force=True)
    assert asked == [3, 24]
    assert delta.versions(warehouse, *DATA) == {name: before[name] for name in DATA}


def test_two_files_that_may_be_meant_are_refused(run, warehouse, landed, statuses):
    for name in ("a", "b"):
        (landed / name).mkdir()
        shutil.copy(landed / "train_000003.jpg", landed / name)
    (landed / "train_000003.jpg").unlink()
    run()
    (row,) = [row for row in delta.read(warehouse, "quarantine").to_pylist() if "train_000003" in row["record"]]
    assert "2 files may be meant" in row["errors"][0]["observed"]
    shutil.rmtree(landed / "b")
    run()
    assert not [row for row in delta.read(warehouse, "quarantine").to_pylist() if "train_000003" in row["record"]]
    assert (statuses()["a/train_000003.jpg"], statuses()["b/train_000003.jpg"]) == ("landed", "gone")


def test_several_annotation_files_and_one_that_is_no_coco(run, warehouse, folder):
    shapes.write_coco(folder / "day 1", split="train", num_images=3, seed=1, size=48)
    shapes.write_coco(folder / "day 2", split="train", num_images=3, seed=2, size=48, first_id=101)
    (folder / "results.json").write_text("[]")
    report = run()
    assert report.files == {"landed": 8, "refused": 1}
    assert delta.count(warehouse, "images") == 6
    edit(folder / "day 2" / "instances_train.json", lambda file: file["categories"][0].update(name="disc"))
    report = run()
    assert "'disc' here, but 'circle'" in report.reasons[str(folder / "day 2" / "instances_train.json")]
    assert report.files == {"landed": 7, "refused": 2}


@pytest.mark.realdata
def test_masks_of_a_panoptic_file_that_come_late(run, warehouse, folder, statuses, data):
    sample = data / "coco/panoptic_sample/sample_data"
    shutil.copytree(sample / "input_images", folder / "input_images")
    shutil.copy(sample / "panoptic_examples.json", folder)
    report = run()
    assert report.files == {"refused": 1, "waiting": 2}
    assert "panoptic PNGs is not there" in report.reasons[str(folder / "panoptic_examples.json")]
    masks = sorted((sample / "panoptic_examples").iterdir())
    (folder / "panoptic_examples").mkdir()
    for mask, some_refused in zip(masks, (True, False), strict=True):
        shutil.copy(mask, folder / "panoptic_examples")
        assert run().files["landed"] == 3
        refused = delta.read(warehouse, "quarantine", columns=["record"]).num_rows
        assert (refused > 0) == some_refused
    file = json.loads((folder / "panoptic_examples.json").read_text())
    assert delta.count(warehouse, "annotations") == sum(len(a["segments_info"]) for a in file["annotations"])
    assert statuses()[f"panoptic_examples/{masks[0].name}"] == "ignored"


def test_a_signal_ends_it_between_two_batches(run, folder, statuses):
    def add_and_end():
        for name in ("one.txt", "two.txt"):
            (folder / name).write_text(name)
            deadline = time.monotonic() + 60
            while name not in statuses() and time.monotonic() < deadline:
                time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=add_and_end)
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    report = run(every_s=0.2)
    thread.join()
    assert report.files == {"ignored": 2}
    assert signal.getsignal(signal.SIGTERM) == before


CASES = {
    "no folder": (lambda f: {"watch": f / "nowhere"}, "the folder to watch is not there"),
    "a file": (lambda f: {"watch": f.parent / "file.txt"}, "the folder to watch is not there"),
    "the root in it": (lambda f: {"watch": f.parent}, "the tables lie in the watched folder"),
    "no name": (lambda f: {"dataset": " "}, "has an empty name"),
}


@pytest.mark.parametrize(("wrong", "message"), CASES.values(), ids=CASES)
def test_wrong_input_is_refused(tmp_path, folder, wrong, message):
    (tmp_path / "file.txt").write_text("x")
    options = {"watch": folder, "dataset": "d", "split": None} | wrong(folder)
    with pytest.raises(UserError, match=message):
        stream(tmp_path / "root", Config(), tell=print, **options)
    assert not (tmp_path / "root").exists()


def test_a_second_stream_of_a_folder_says_why_it_does_not_start(run, warehouse, folder):
    message = "another process does this already: ingest stream --watch"
    with alone(warehouse, f"ingest stream --watch {folder} --dataset d"), pytest.raises(UserError, match=message):
        run()
    assert run().files == {}


STREAM = """
import sys; from pathlib import Path
from lakesight.config import Config
from lakesight.sections import SparkConfig
from ingestion.stream import stream
root, folder, dataset = sys.argv[1:]
stream(Path(root), Config(spark=SparkConfig(driver_memory="1g")), watch=Path(folder), dataset=dataset, split="train",
       tell=lambda report: None)
"""


def start(root, folder, dataset, before=""):
    return subprocess.Popen(
        [sys.executable, "-c", before + STREAM, str(root), str(folder), dataset],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


DIE = """
import os, signal
import ingestion.look, ingestion.publish
from lakesight import delta, merge
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def merge_arrow(warehouse, name, *args, **kwargs):
    if {point!r} == "before " + name:
        die()
    change = merge.merge_arrow(warehouse, name, *args, **kwargs)
    if {point!r} == "after " + name:
        die()
    return change
ingestion.look.merge_arrow = ingestion.publish.merge_arrow = merge_arrow
def then_die(tables):
    yield from tables
    die()
append = delta.append
def append_or_die(warehouse, name, tables):
    append(warehouse, name, then_die(tables) if {point!r} == "within " + name else tables)
delta.append = append_or_die
"""


@pytest.mark.slow
def test_killed_again_and_again(run, warehouse, finished, folder, expected, same):
    names = all_names(finished)
    arrive(finished, folder, *names[:15], "instances.json")
    for point in ("before categories", "within images", "after annotations", "after sources"):
        killed(warehouse.root, folder, point)
    assert delta.count(warehouse, "images") > 0
    assert delta.count(warehouse, "arrivals") == 0
    arrive(finished, folder, *names)
    killed(warehouse.root, folder, "after image_properties")
    assert run().files == {"ignored": 1, "landed": 23, "refused": 2}
    same(warehouse, folder, expected, finished)


def killed(root, folder, point):
    """A stream that kills itself before or after it commits to a table, or between the table's files and the commit."""
    process = start(root, folder, "d", before=DIE.format(point=point))
    try:
        assert process.wait(timeout=500) == -signal.SIGKILL, f"it ended before it got to {point}"
    finally:
        with contextlib.suppress(ProcessLookupError):  # its JVM may be gone by now
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_streams_at_once_both_land(run, warehouse, folder, tmp_path):
    one = shapes.write_coco(folder, split="train", num_images=8, seed=1, size=48).parent
    other = shapes.write_coco(tmp_path / "other", split="train", num_images=8, seed=2, size=48, first_id=101).parent
    process = start(warehouse.root, other, "d")
    run(one)
    assert process.wait(timeout=120) == 0
    assert delta.count(warehouse, "images") == 16
    assert set(delta.read(warehouse, "arrivals")["status"].to_pylist()) == {"landed"}
