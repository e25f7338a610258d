"""Images that are held by reference and then in the table, and the other way round: what the rows hold after each."""

from functools import partial

import pytest

from features.build import build
from ingestion.load import ingest_coco
from ingestion.stream import stream
from lakesight import delta, shapes
from lakesight.by_reference import without_bytes
from lakesight.config import Config
from lakesight.merge import Change
from lakesight.sections import IngestConfig

REFERENCE, TABLE = Config(ingest=IngestConfig(content="reference")), Config()


@pytest.fixture
def folder(tmp_path):
    """Six images and their COCO file."""
    shapes.write_coco(tmp_path / "in", split="train", num_images=6, seed=1)
    return tmp_path / "in" / "train"


@pytest.fixture
def ingest(spark, warehouse, folder):
    """A function: one ingest of the folder with a configuration."""
    named = {"annotations": folder.parent / "instances_train.json", "dataset": "d", "split": "train"}
    return partial(ingest_coco, warehouse.root, images=folder, **named)


@pytest.fixture
def held(warehouse, folder):
    """A function: file names in a table by whether the row has the file's bytes; it has none that are not the file's."""

    def look(table):
        rows = delta.read(warehouse, table, columns=["file_name", "content"]).to_pylist()
        assert all(row["content"] in (None, (folder / row["file_name"]).read_bytes()) for row in rows)
        return {there: sorted(r["file_name"] for r in rows if bool(r["content"]) == there) for there in (True, False)}

    return look


def redraw(path):
    path.write_bytes(path.read_bytes() + b" and more")


def test_bytes_come_in_once_they_are_wanted_and_stay(ingest, warehouse, folder, held):
    names = sorted(path.name for path in folder.iterdir())
    assert ingest(REFERENCE).changes["images"].added == 6
    build(warehouse, TABLE)  # what a row holds decides, not how it is built
    assert held("images")[False] == held("samples")[False] == names

    changes = ingest(TABLE).changes
    assert changes["images"] == Change(updated=6)
    assert changes["image_properties"] == changes["annotations"] == Change()
    assert build(warehouse, TABLE).updated == 6
    assert held("images")[True] == held("samples")[True] == names
    before = delta.versions(warehouse, "images", "samples")
    assert ingest(TABLE, force=True).changes["images"] == Change()
    build(warehouse, TABLE)
    assert delta.versions(warehouse, "images", "samples") == before

    redraw(folder / names[2])
    assert ingest(REFERENCE).changes["images"] == Change(updated=1)  # its bytes of before are not those of `sha256`
    assert build(warehouse, REFERENCE).updated == 1
    assert held("images")[False] == held("samples")[False] == [names[2]]
    assert without_bytes(warehouse, "d").to_pylist() == [3]
    assert without_bytes(warehouse, "other").to_pylist() == []
    assert ingest(TABLE).changes["images"] == Change(updated=1)
    assert build(warehouse, TABLE).updated == 1
    assert held("images")[True] == held("samples")[True] == names


def test_a_stream_brings_in_the_bytes_of_what_it_looks_at(spark, warehouse, folder, held):
    run = partial(stream, warehouse.root, watch=folder.parent, dataset="d", split="train", tell=print)
    run(REFERENCE)
    assert len(held("images")[False]) == 6
    run(TABLE)  # nothing has come
    assert len(held("images")[False]) == 6
    redraw(folder / "train_000001.jpg")
    run(TABLE)
    assert len(held("images")[True]) == 6


def test_a_file_that_is_gone_costs_no_other_its_bytes(ingest, folder, held):
    ingest(REFERENCE)
    gone = folder / "train_000004.jpg"
    content = gone.read_bytes()
    gone.unlink()
    report = ingest(TABLE)
    gone.write_bytes(content)
    assert report.quarantined["image_file_exists"] == 1
    assert held("images")[False] == [gone.name]
    assert ingest(TABLE).changes["images"] == Change(updated=1)
