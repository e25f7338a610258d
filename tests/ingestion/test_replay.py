"""Quarantine: what was mended leaves it, by ingest or by replay; what was not stays, with its reason."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from ingestion import replay as replaying
from ingestion.formats.read_yolo import read_yolo
from ingestion.load import ingest as load
from ingestion.load import ingest_coco
from ingestion.replay import replay
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.sections import IngestConfig
from lakesight.warehouse import Warehouse

CONFIG = Config(ingest=IngestConfig(allow_orphans=True))
TABLES = ("images", "annotations", "categories", "image_properties", "quarantine", "sources")


@pytest.fixture
def folder(tmp_path):
    return shapes.write_coco(tmp_path / "s", split="train", num_images=6, seed=1)


def ingest(warehouse, path, config=CONFIG):
    return ingest_coco(
        warehouse.root, config, images=path.parent / "train", annotations=path, dataset="shapes", split="train"
    )


def edit(path, change):
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))


def rules(warehouse):
    rows = delta.read(warehouse, "quarantine").to_pylist()
    return sorted(error["rule"] for row in rows for error in row["errors"])


def content(warehouse, name):
    """Rows by key, without who wrote them and when."""
    rows = delta.read(warehouse, name).to_pylist()
    kept = [{k: v for k, v in row.items() if k not in ("run_id", "ingested_at", "computed_at")} for row in rows]
    return sorted(kept, key=lambda row: row.get("annotation_id") or row["image_id"])


def spoil(path):
    """Truncate an image, take another away, move a box out; returns what mends the files again."""
    images = path.parent / "train"
    cut, gone = images / "train_000002.jpg", images / "train_000003.jpg"
    whole, other = cut.read_bytes(), gone.read_bytes()
    cut.write_bytes(whole[:900])
    gone.unlink()
    edit(path, lambda file: file["annotations"][0]["bbox"].__setitem__(2, -1.0))

    def mend():
        cut.write_bytes(whole)
        gone.write_bytes(other)

    return mend


def test_mended_and_ingested_again_leaves_quarantine(warehouse, spark, folder):
    mend = spoil(folder)
    ingest(warehouse, folder)
    assert {"image_decodes", "image_file_exists", "annotation_box_positive"} <= set(rules(warehouse))
    mend()
    edit(folder, lambda file: file["annotations"][0]["bbox"].__setitem__(2, 9.0))
    report = ingest(warehouse, folder)
    assert not report.quarantined
    assert report.changes["quarantine"].removed > 0
    assert rules(warehouse) == []


def test_another_source_keeps_its_quarantine(warehouse, spark, folder, tmp_path):
    spoil(folder)
    ingest(warehouse, folder)
    before = rules(warehouse)
    other = shapes.write_coco(tmp_path / "t", split="train", num_images=3, seed=8, first_id=500)
    ingest(warehouse, other)
    assert rules(warehouse) == before


def test_replay_takes_back_what_is_accepted_now(warehouse, spark, folder, tmp_path):
    mend = spoil(folder)
    ingest(warehouse, folder)
    mend()
    refused = delta.count(warehouse, "quarantine")
    report = replay(warehouse, Config())
    assert rules(warehouse) == ["annotation_box_positive"]
    assert (report.taken_back, report.still_refused, report.unknown_sources) == (refused - 1, 1, ())
    assert (report.changes["images"].added, report.changes["image_properties"].added) == (2, 2)
    assert report.changes["annotations"].added == refused - 3
    # As if the files had been whole from the start.
    from lakesight.warehouse import create_warehouse

    whole = create_warehouse(tmp_path / "whole")
    ingest(whole, folder)
    for name in ("images", "annotations", "image_properties"):
        assert content(warehouse, name) == content(whole, name), name
    # Again: nothing to do, no commit.
    versions = delta.versions(warehouse, *TABLES)
    assert replay(warehouse, Config()).taken_back == 0
    assert delta.versions(warehouse, *TABLES) == versions
    # And the source itself still goes in without a change of the tables.
    ingest(warehouse, folder)
    assert content(warehouse, "annotations") == content(whole, "annotations")
    assert rules(warehouse) == ["annotation_box_positive"]


def test_replay_killed_between_landing_and_leaving_quarantine(warehouse, spark, folder, monkeypatch):
    mend = spoil(folder)
    ingest(warehouse, folder)
    mend()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replaying, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            replay(warehouse, Config())
    assert delta.count(warehouse, "images") == 6  # landed, and still in quarantine
    assert len(rules(warehouse)) > 1
    replay(warehouse, Config())
    assert delta.count(warehouse, "images") == 6
    assert rules(warehouse) == ["annotation_box_positive"]


REPLAY = """
import os, signal, sys
from pathlib import Path
from ingestion import publish
from ingestion.replay import replay
from lakesight import delta
from lakesight.config import Config
from lakesight.sections import SparkConfig
from lakesight.warehouse import Warehouse

def dies_after(function, last):
    def run(warehouse, table, *args, **kwargs):
        result = function(warehouse, table, *args, **kwargs)
        if table == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return run

publish.merge_arrow = dies_after(publish.merge_arrow, sys.argv[2])
delta.append = dies_after(delta.append, sys.argv[2])
replay(Warehouse(Path(sys.argv[1])), Config(spark=SparkConfig(driver_memory="1g")))
"""


@pytest.mark.slow
def test_replay_killed_twice_by_sigkill(warehouse, spark, folder, tmp_path, contents):
    mend = spoil(folder)
    ingest(warehouse, folder)
    mend()
    whole = Warehouse(shutil.copytree(warehouse.root, tmp_path / "whole"))
    undisturbed = replay(whole, Config())
    for table in ("image_properties", "annotations"):
        command = [sys.executable, "-c", REPLAY, str(warehouse.root), table]
        child = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert child.returncode == -signal.SIGKILL, child.stderr
    report = replay(warehouse, Config())
    # What landed before the kills leaves quarantine now.
    assert (report.taken_back, report.still_refused) == (undisturbed.taken_back, undisturbed.still_refused)
    for name in ("images", "image_properties", "categories", "annotations", "quarantine"):
        assert contents(warehouse, name) == contents(whole, name), name


def test_what_is_still_wrong_stays_as_it_is(warehouse, spark, folder):
    def change(file):
        file["annotations"][0]["id"] = "one"
        file["annotations"][1]["note"] = "kept"
        file["annotations"][1]["area"] = 7.0
        file["annotations"][1]["iscrowd"] = 2

    edit(folder, change)
    ingest(warehouse, folder)
    before = delta.read(warehouse, "quarantine").to_pylist()
    assert rules(warehouse) == ["annotation_crowd_flag", "annotation_record_valid"]
    report = replay(warehouse, Config())
    assert (report.taken_back, report.still_refused) == (0, 2)
    assert delta.read(warehouse, "quarantine").to_pylist() == before
    row = next(json.loads(r["typed"]) for r in before if r["errors"][0]["rule"] == "annotation_crowd_flag")
    assert (row["attributes"], row["area"]) == ({"note": "kept"}, 7.0)


def test_a_source_whose_ingest_never_ended_is_named(warehouse, spark, folder):
    spoil(folder)
    ingest(warehouse, folder)
    delta.open_table(warehouse, "sources").delete()
    report = replay(warehouse, Config(), dataset="shapes")
    assert report.unknown_sources == (str(folder.resolve()),)
    assert report.taken_back == 0
    assert report.still_refused == delta.count(warehouse, "quarantine") > 0


def test_an_id_that_another_record_has_is_not_taken_back(warehouse, spark, folder):
    def repeat(file):
        file["categories"].append(file["categories"][0] | {"name": "another"})
        file["annotations"].append(file["annotations"][0] | {"area": 1})
        file["images"].append(file["images"][0] | {"width": 96.0, "who": "another"})

    edit(folder, repeat)
    first = ingest(warehouse, folder)
    assert set(rules(warehouse)) >= {"category_id_unique", "annotation_id_unique", "image_id_unique"}
    tables = ("categories", "annotations", "images", "quarantine")
    versions = delta.versions(warehouse, *tables)
    report = replay(warehouse, Config())
    assert (report.taken_back, report.still_refused) == (0, delta.count(warehouse, "quarantine"))
    assert delta.versions(warehouse, *tables) == versions
    assert ingest(warehouse, folder).run_id == first.run_id  # nothing to do, and no other meaning of the class


def test_what_is_refused_for_another_reason_says_so(warehouse, spark, folder):
    mend = spoil(folder)
    ingest(warehouse, folder)
    before = reasons(warehouse)
    (folder.parent / "train/train_000002.jpg").write_text("not an image")
    ingest(warehouse, folder)
    changed = {rule: now for rule, now in reasons(warehouse).items() if now != before[rule]}
    assert list(changed) == ["image_decodes"]
    assert "truncated" in before["image_decodes"][0]
    assert "not_an_image" in changed["image_decodes"][0]
    # The folder moves, and what was missing comes.
    moved = folder.parent / "moved" / "train"
    moved.parent.mkdir()
    (folder.parent / "train").rename(moved)
    ingest_coco(warehouse.root, CONFIG, images=moved, annotations=folder, dataset="shapes", split="train")
    (folder.parent / "train").mkdir()
    mend()
    for name in ("train_000002.jpg", "train_000003.jpg"):
        (folder.parent / "train" / name).rename(moved / name)
    assert replay(warehouse, Config()).changes["images"].added == 2
    assert rules(warehouse) == ["annotation_box_positive"]


def reasons(warehouse):
    """Rule -> what was observed."""
    found = {}
    for row in delta.read(warehouse, "quarantine").to_pylist():
        for error in row["errors"]:
            found.setdefault(error["rule"], []).append(error["observed"])
    return {rule: sorted(map(str, observed)) for rule, observed in found.items()}


def test_fractions_are_of_the_image_once(warehouse, spark, tmp_path):
    """YOLO: a class that another folder brings, and an image that was cut."""

    def put(name, names, *stems):
        folder = tmp_path / name
        for place, stem in enumerate(stems):
            path = shapes.write_coco(tmp_path / stem, split="x", num_images=1, seed=place + len(name), size=48)
            (folder / "images").mkdir(parents=True, exist_ok=True)
            shutil.copy(next((path.parent / "x").iterdir()), folder / "images" / f"{stem}.jpg")
            (folder / "labels").mkdir(exist_ok=True)
            (folder / "labels" / f"{stem}.txt").write_text("0 .5 .5 .5 .25\n1 .5 .5 .25 .5 .75 .75\n")
        (folder / "data.yaml").write_text(f"train: images\nnames: {names}\n")
        return folder / "data.yaml"

    first = put("first", ["cat"], "whole", "cut")
    cut = first.parent / "images/cut.jpg"
    content = cut.read_bytes()
    cut.write_bytes(content[:500])
    load(warehouse.root, Config(), "d", lambda _: read_yolo(data=first, dataset="d"))
    second = put("another", ["cat", "dog"], "other")
    load(warehouse.root, Config(), "d", lambda _: read_yolo(data=second, dataset="d"))
    cut.write_bytes(content)
    assert replay(warehouse, Config()).still_refused == 0
    boxes = [row["bbox"] for row in delta.read(warehouse, "annotations").to_pylist()]
    assert sorted(boxes) == [[12, 18, 24, 12]] * 3 + [[12, 24, 24, 12]] * 3
