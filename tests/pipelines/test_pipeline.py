"""The pipeline on open-source Spark and Delta: two runs with new files between, held against the batch path."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass

import pytest

from lakesight import shapes

pytestmark = pytest.mark.slow

COLUMNS = {
    "images": "dataset, image_id, file_name, source_uri, sha256, pixel_hash, format, mode, width, height, "
    "exif_orientation, size_bytes, split, shuffle_key, captured_at, metadata",
    "image_properties": "dataset, image_id, sha256, brightness, contrast, sharpness, entropy, colorfulness, dhash",
    "categories": "dataset, category_id, name, supercategory, label, keypoints, skeleton, attributes",
    "annotations": "dataset, annotation_id, image_id, category_id, bbox, area, iscrowd, segmentation, keypoints, "
    "num_keypoints, attributes",
}
KEYS = {
    "images": "image_id",
    "image_properties": "image_id",
    "categories": "category_id",
    "annotations": "annotation_id",
}
COUNTS = ("annotation_files", "image_files", "image_facts", "image_records", "images", "annotations", "quarantine")


@dataclass(frozen=True)
class Updated:
    """A pipeline after two runs, its counts after each, and the number of files it was given."""

    server: object
    counts: tuple[dict[str, int], dict[str, int]]
    num_images: tuple[int, int]


@pytest.fixture(scope="module")
def updated(server, tmp_path_factory):
    """First `train`; then `val` with planted defects, an id of `train` used again, and a file that is no COCO."""
    made, source = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("arriving")
    shapes.write_coco(made, split="train", num_images=6, seed=1, size=64)
    val = shapes.write_coco(made, split="val", num_images=8, seed=3, size=64, first_id=1001)
    shapes.plant_defects(val)
    coco = json.loads(val.read_text())
    coco["images"].append(coco["images"][0] | {"id": 1})  # has another file in `train`
    coco["images"].append({"id": 2001, "file_name": "nowhere.jpg", "width": 64, "height": 64})
    coco["categories"].append({"id": "no number", "name": "bad"})
    val.write_text(json.dumps(coco))

    _arrive(made, source, "train")
    first = _run(server, source)
    _ingest(server, source, "train")
    _arrive(made, source, "val")
    (source / "instances_broken.json").write_text("{")
    second = _run(server, source)
    _ingest(server, source, "val")
    return Updated(server, (first, second), (6, 14))


def _arrive(made, source, split):
    shutil.copytree(made / split, source / split)
    shutil.copy(made / f"instances_{split}.json", source)


def _run(server, source):
    done = server.run("pipeline", "--source", source, "--dataset", "piped")
    assert done.returncode == 0, done.stderr
    assert "lakesight_pipeline.images" in done.stdout
    counts = " UNION ALL ".join(f"SELECT '{t}' AS name, count(*) AS n FROM lakesight_pipeline.{t}" for t in COUNTS)
    return {row["name"]: row["n"] for row in server.query(counts)}


def _ingest(server, source, split):
    file = source / f"instances_{split}.json"
    command = ["ingest", "coco", "--images", source / split, "--annotations", file, "--dataset", "piped"]
    done = server.run(*command, "--split", split)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", COLUMNS)
def test_silver_is_what_the_batch_path_writes(updated, table):
    batch, piped = (_rows(updated.server, schema, table) for schema in ("lakesight", "lakesight_pipeline"))
    assert batch
    assert piped == batch


def _rows(server, schema, table, dataset="piped"):
    return server.query(
        f"SELECT {COLUMNS[table]} FROM {schema}.{table} WHERE dataset = '{dataset}' ORDER BY {KEYS[table]}"
    )


def _text(row):
    # A mean depends in its last digit on the order in which tasks end.
    rounded = {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
    return json.dumps(rounded, sort_keys=True, default=str)


def _refusals(server, schema, dataset="piped"):
    rows = server.query(f"SELECT table_name, record, errors FROM {schema}.quarantine WHERE dataset = '{dataset}'")
    return Counter((row["table_name"], _id(json.loads(row["record"])), _reasons(row["errors"])) for row in rows)


def _id(record):
    return str(record.get("id", record.get("annotation_id", json.dumps(record))))


def _reasons(errors):
    return tuple(sorted((error["rule"], error["observed"]) for error in errors))


def test_refusals_are_those_of_the_batch_path(updated):
    batch, piped = (_refusals(updated.server, schema) for schema in ("lakesight", "lakesight_pipeline"))
    (only,) = piped - batch  # the batch path refuses such a file before it looks at anything
    assert only[2][0][0] == "image_record_valid"
    assert "not JSON" in only[2][0][1]
    assert not batch - piped
    rules = {rule for _, _, reasons in batch for rule, _ in reasons}
    assert rules >= {"image_decodes", "image_unique", "image_id_unique", "image_file_exists", "category_record_valid"}
    assert rules >= {"annotation_box_positive", "annotation_box_inside", "annotation_category_known"}


def test_the_second_run_adds_the_new_files_and_nothing_else(updated):
    first, second = updated.counts
    assert (first["annotation_files"], second["annotation_files"]) == (1, 3)
    for table in ("image_files", "image_facts"):
        assert (first[table], second[table]) == updated.num_images
    assert (first["images"], first["quarantine"]) == (6, 0)
    assert second["images"] == 12  # 8 of `val` but one that does not decode and one that is a copy
    paths = updated.server.query("SELECT path, count(*) AS n FROM lakesight_pipeline.image_files GROUP BY path")
    assert {row["n"] for row in paths} == {1}


def test_rows_of_the_first_run_keep_their_run(updated):
    runs = updated.server.query(
        "SELECT split, collect_set(run_id) AS runs FROM lakesight_pipeline.images GROUP BY split ORDER BY split"
    )
    (train,), (val,) = (row["runs"] for row in runs)
    assert train < val


@pytest.mark.parametrize("view", ["class_balance", "image_quality"])
def test_gold_is_what_the_view_says(updated, view):
    rows = [
        sorted(map(_text, updated.server.query(f"SELECT * FROM {schema}.{view} WHERE dataset = 'piped'")))
        for schema in ("lakesight_pipeline", "lakesight")
    ]
    assert rows[0]
    assert rows[0] == rows[1]
