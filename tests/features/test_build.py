"""Samples: what is in them, and that only what changed is written."""

import json

import pytest

from features.build import build
from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import ConfigError, TableError
from lakesight.sections import BuildConfig
from lakesight.tables import SAMPLES
from lakesight.warehouse import create_warehouse


def ingest(warehouse, path, split, dataset="shapes"):
    images = path.parent / path.stem.removeprefix("instances_")
    ingest_coco(warehouse.root, Config(), images=images, annotations=path, dataset=dataset, split=split)


def samples(warehouse):
    return {row["image_id"]: row for row in delta.read(warehouse, "samples").to_pylist()}


@pytest.fixture
def written(warehouse, spark, tmp_path):
    """A data set of 12 images without a stated split, ingested."""
    path = shapes.write_coco(tmp_path / "s", split="all", num_images=12, seed=1)
    ingest(warehouse, path, None)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory, spark):
    """A root with the 12 images, built; their file, and the report."""
    folder = tmp_path_factory.mktemp("built")
    path = shapes.write_coco(folder / "s", split="all", num_images=12, seed=1)
    warehouse = create_warehouse(folder / "root")
    ingest(warehouse, path, None)
    return warehouse, path, build(warehouse, Config(), dataset="shapes")


def test_a_sample_is_the_image_and_its_boxes(built):
    warehouse, written, report = built
    assert (report.added, report.updated, report.removed) == (12, 0, 0)
    assert report.version == delta.version(warehouse, "samples")
    file, rows = json.loads(written.read_text()), samples(warehouse)
    assert delta.read(warehouse, "samples").schema.names == SAMPLES.arrow.names
    for image in file["images"]:
        row = rows[image["id"]]
        expected = [box for box in file["annotations"] if box["image_id"] == image["id"]]
        assert row["content"] == (written.parent / "all" / image["file_name"]).read_bytes()
        assert [a["annotation_id"] for a in row["annotations"]] == sorted(box["id"] for box in expected)
        assert row["num_annotations"] == len(expected)
        for box, found in zip(expected, row["annotations"], strict=True):
            assert found["bbox"] == box["bbox"]
            assert (found["category_id"], found["label"]) == (box["category_id"], box["category_id"] - 1)


def test_again_writes_nothing(built):
    warehouse, _, first = built
    report = build(warehouse, Config())
    assert (report.version, report.added, report.updated, report.removed) == (first.version, 0, 0, 0)


def test_splits_follow_the_pixels(warehouse, written, tmp_path):
    config = Config(build=BuildConfig(val_fraction=0.5))
    build(warehouse, config)
    first = {i: row["split"] for i, row in samples(warehouse).items()}
    assert set(first.values()) == {"train", "val"}
    other = shapes.write_coco(tmp_path / "other", split="all", num_images=12, seed=1, first_id=501)
    ingest(warehouse, other, None, dataset="copy")
    build(warehouse, config, dataset="copy")
    second = {i - 500: row["split"] for i, row in samples(warehouse).items() if i > 500}
    assert second == first
    everything = build(warehouse, Config(build=BuildConfig(val_fraction=0.0)))
    assert everything.updated == 2 * list(first.values()).count("val")
    assert {row["split"] for row in samples(warehouse).values()} == {"train"}


def test_groups_stay_together(warehouse, written, spark):
    folds = [BuildConfig(folds=2, fold=fold, group_by="image_id div 4", stratify=True) for fold in range(2)]
    val = []
    for config in folds:
        assert build(warehouse, Config(build=config)).leaks == 0
        val.append({i for i, row in samples(warehouse).items() if row["split"] == "val"})
    assert sorted(i for fold in val for i in fold) == list(range(1, 13))
    assert all({i // 4 for i in fold}.isdisjoint(i // 4 for i in set(range(1, 13)) - fold) for fold in val)
    with pytest.raises(ConfigError, match="group_by is not understood"):
        build(warehouse, Config(build=BuildConfig(group_by="camera")))


def test_stated_splits_draw_their_group_along_and_torn_groups_are_counted(warehouse, written, tmp_path):
    config = Config(build=BuildConfig(group_by="image_id % 500"))
    other = shapes.write_coco(tmp_path / "other", split="test", num_images=12, seed=2, first_id=501)
    ingest(warehouse, other, "test")
    assert build(warehouse, config).leaks == 0
    assert {row["split"] for row in samples(warehouse).values()} == {"test"}
    ingest(warehouse, written, "train")
    assert build(warehouse, config).leaks == 12


def test_only_what_changed_is_written(warehouse, written, spark):
    build(warehouse, Config())
    before = samples(warehouse)
    file = json.loads(written.read_text())
    box = file["annotations"][0]
    box["bbox"][2] += 1
    written.write_text(json.dumps(file))
    ingest(warehouse, written, None)
    spark.sql(f"DELETE FROM delta.`{warehouse.path('images')}` WHERE image_id = 5")
    report = build(warehouse, Config())
    assert (report.added, report.updated, report.removed) == (0, 1, 1)
    after = samples(warehouse)
    assert set(before) - set(after) == {5}
    changed = {i for i, row in after.items() if row != before[i]}
    assert changed == {box["image_id"]}
    (new,) = changed
    assert after[new]["content"] == before[new]["content"]
    assert after[new]["fingerprint"] != before[new]["fingerprint"]
    ingest(warehouse, written, None)
    assert build(warehouse, Config()).added == 1
    assert set(samples(warehouse)) == set(before)


def test_layout(warehouse, spark, tmp_path):
    ingest(warehouse, shapes.write_coco(tmp_path / "s", split="train", num_images=130, seed=4, size=32), "train")
    build(warehouse, Config())
    units = delta.plan(warehouse, "samples").units
    assert all(unit.num_rows <= delta.ROWS_PER_GROUP for unit in units)
    by_file = {}
    for unit in units:
        by_file.setdefault(unit.path, []).extend(unit.read(["shuffle_key"])["shuffle_key"].to_pylist())
    assert sum(map(len, by_file.values())) == 130
    assert all(keys == sorted(keys) for keys in by_file.values())


@pytest.mark.parametrize("dataset", [None, "nothing"])
def test_no_such_data_set(warehouse, spark, dataset):
    with pytest.raises(TableError):
        build(warehouse, Config(), dataset=dataset)
