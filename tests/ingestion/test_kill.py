"""SIGKILL anywhere in ingest or build, then the same command again: the tables of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from features.build import build
from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.sections import IngestConfig
from lakesight.warehouse import Warehouse

INGEST = """
import sys; from pathlib import Path
from lakesight.config import Config
from lakesight.sections import SparkConfig
from ingestion.load import ingest_coco
from lakesight import delta
delta.COMMIT_BYTES = 1  # images are appended in several commits
root, folder = map(Path, sys.argv[1:])
ingest_coco(root, Config(spark=SparkConfig(driver_memory="1g")), images=folder / "train",
            annotations=folder / "instances_train.json", dataset="shapes", split="train")
"""
BUILD = """
import sys; from pathlib import Path
from lakesight.config import Config
from lakesight.sections import SparkConfig
from lakesight.warehouse import Warehouse
from features.build import build
build(Warehouse(Path(sys.argv[1])), Config(spark=SparkConfig(driver_memory="1g")))
"""
DEFAULT = Config()
TABLE = "warehouse/lakesight.db/{}"
COMMIT = TABLE + "/_delta_log/00000000000000000001.json"


def run_until(program, root, folder, seen):
    """Run `program` and kill it and all its children as soon as a file that matches `seen` is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root), str(folder)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not any(root.glob(seen)):
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = shapes.write_coco(tmp_path_factory.mktemp("kill"), split="train", num_images=60, seed=3)
    shapes.plant_defects(path)
    return path.parent


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, folder, spark):
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    ingest(root, folder)
    build(Warehouse(root), Config())
    return Warehouse(root)


def ingest(root, folder, config=DEFAULT):
    images, annotations = folder / "train", folder / "instances_train.json"
    return ingest_coco(root, config, images=images, annotations=annotations, dataset="shapes", split="train")


@pytest.mark.slow
def test_ingest_killed_twice(undisturbed, folder, tmp_path, contents):
    root = tmp_path / "root"
    # Between two tables, and between two commits of images.
    for seen in (COMMIT.format("image_properties"), COMMIT.format("images")):
        run_until(INGEST, root, folder, seen)
    assert (root / "staging").exists()
    ingest(root, folder)
    for name in ("images", "image_properties", "categories", "annotations", "quarantine"):
        assert contents(Warehouse(root), name) == contents(undisturbed, name), name
    assert not [path for path in (root / "staging").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_bytes_that_come_in_later_killed(undisturbed, folder, tmp_path, contents):
    root = tmp_path / "root"
    ingest(root, folder, Config(ingest=IngestConfig(content="reference")))
    run_until(INGEST, root, folder, "staging/*/changed")  # read, and not yet merged
    ingest(root, folder)
    assert contents(Warehouse(root), "images") == contents(undisturbed, "images")


@pytest.fixture
def changed(tmp_path, spark):
    """A root, and the folder that it holds, in which rows of every table have changed since."""
    file = shapes.write_coco(tmp_path / "data", split="train", num_images=30, seed=4)
    shapes.plant_defects(file)
    root = tmp_path / "root"
    ingest(root, file.parent)
    _change(file)
    return root, file.parent


def _change(file):
    """Other bytes, an exchange, a place taken over, a file that breaks and one that is mended, boxes, a new image."""
    coco, rng = json.loads(file.read_text()), np.random.default_rng(5)
    paths = [file.parent / "train" / image["file_name"] for image in coco["images"]]
    first, second = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(second)
    paths[2].write_bytes(first)
    new = file.parent / "train" / "new.jpg"
    new.write_bytes(paths[3].read_bytes())
    for path in (paths[0], paths[3], paths[-1]):  # the last one was truncated
        shapes.draw(rng, 96)[0].save(path)
    paths[4].write_bytes(paths[4].read_bytes()[:700])
    coco["images"].append({"id": 999, "file_name": "new.jpg", "width": 96, "height": 96})
    for annotation in coco["annotations"][8:20]:
        annotation["bbox"][2] -= 1
    coco["annotations"][20]["category_id"] = 99
    file.write_text(json.dumps(coco))


@pytest.mark.slow
def test_update_killed_twice(changed, tmp_path, contents):
    root, folder = changed
    shutil.copytree(root, tmp_path / "expected")
    ingest(tmp_path / "expected", folder)
    # Between two tables, and between the images that have changed and the new one.
    for table in ("image_properties", "images"):
        run_until(INGEST, root, folder, TABLE.format(table) + "/_delta_log/00000000000000000002.json")
    ingest(root, folder)
    for name in ("images", "image_properties", "categories", "annotations", "quarantine", "sources"):
        assert contents(Warehouse(root), name) == contents(Warehouse(tmp_path / "expected"), name), name
    history = delta.open_table(Warehouse(root), "images").history()
    assert [entry["operation"] for entry in history[:2]] == ["WRITE", "MERGE"], "nothing was written twice"


@pytest.mark.slow
def test_build_killed(undisturbed, folder, tmp_path, contents):
    root = tmp_path / "root"
    ingest(root, folder)
    run_until(BUILD, root, folder, TABLE.format("samples") + "/*.parquet")
    report = build(Warehouse(root), Config())
    assert report.added in (0, 58)  # 0: the kill came after the commit
    assert contents(Warehouse(root), "samples") == contents(undisturbed, "samples")
