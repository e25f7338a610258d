"""Images held by reference: ingest keeps no bytes, what needs them reads the files and notices when these changed."""

import pytest

from features.build import build
from features.plan import in_order
from features.reading import SAMPLE_COLUMNS, read_rows
from features.reference import GONE
from features.snapshot import read_splits
from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change
from lakesight.sections import IngestConfig
from lakesight.warehouse import create_warehouse

REFERENCE = Config(ingest=IngestConfig(content="reference"))


@pytest.fixture(scope="module")
def warehouse(spark, tmp_path_factory):
    return create_warehouse(tmp_path_factory.mktemp("reference") / "root")


@pytest.fixture(scope="module")
def folder(warehouse, tmp_path_factory):
    """Six images, ingested by reference and built."""
    path = shapes.write_coco(tmp_path_factory.mktemp("s"), split="train", num_images=6, seed=1)
    named = {"images": path.parent / "train", "annotations": path, "dataset": "d", "split": "train"}
    assert ingest_coco(warehouse.root, REFERENCE, **named).changes["images"].added == 6
    build(warehouse, REFERENCE)
    return path.parent / "train"


@pytest.fixture
def spoiled(folder):
    """The folder while the first file has the bytes of the second, and the second is gone."""
    one, two, *_ = sorted(folder.iterdir())
    before = {path: path.read_bytes() for path in (one, two)}
    one.write_bytes(two.read_bytes())
    two.unlink()
    yield folder
    for path, content in before.items():
        path.write_bytes(content)


def read(warehouse):
    (split,) = read_splits(warehouse, "d", ["train"])
    return [row for read in in_order(split.rows) for row in read_rows(split.units[read.unit], read).to_pylist()]


def test_bytes_are_read_from_the_files(warehouse, folder):
    for table in ("images", "samples"):
        rows = delta.read(warehouse, table).to_pylist()
        assert [row["content"] for row in rows] == [None] * 6
        assert all(len(row["sha256"]) == 64 and row["width"] == 96 for row in rows)
    names = {row["image_id"]: row["file_name"] for row in delta.read(warehouse, "samples").to_pylist()}
    for row in read(warehouse):
        assert row["content"] == (folder / names[row["image_id"]]).read_bytes()
        assert set(row) == {*SAMPLE_COLUMNS, "epoch"}


def test_again_changes_nothing(warehouse, folder):
    before = delta.versions(warehouse, "images", "samples")
    named = {"images": folder, "annotations": folder.parent / "instances_train.json", "dataset": "d", "split": "train"}
    ingest_coco(warehouse.root, REFERENCE, **named, force=True)
    build(warehouse, REFERENCE)
    assert delta.versions(warehouse, "images", "samples") == before


def test_a_file_that_changed_or_went_is_not_taken_for_the_image(warehouse, spoiled):
    from features.collate import Collate

    rows = read(warehouse)
    assert sorted(row["image_id"] for row in rows if row["content"] is None) == [1, 2]
    import pyarrow as pa

    with pytest.raises(FormatError, match=GONE):
        Collate((96, 96))(pa.Table.from_pylist([row for row in rows if row["content"] is None]))


def test_a_folder_that_moved_is_found(warehouse, folder):
    moved = folder.with_name("moved")
    folder.rename(moved)
    named = {"images": moved, "annotations": folder.parent / "instances_train.json", "dataset": "d", "split": "train"}
    try:
        assert ingest_coco(warehouse.root, REFERENCE, **named).changes["images"] == Change(updated=6)
        assert build(warehouse, REFERENCE).updated == 6
        assert all(row["content"] for row in read(warehouse))
        assert ingest_coco(warehouse.root, REFERENCE, **named).changes["images"] == Change()
        assert build(warehouse, REFERENCE).updated == 0
    finally:
        moved.rename(folder)
