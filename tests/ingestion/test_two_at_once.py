"""Ingests at once into one root, each a process of its own: all land, and the tables are those of one after the other."""

import subprocess
import sys

import pytest

from ingestion.load import ingest_coco
from lakesight import shapes
from lakesight.config import Config
from lakesight.warehouse import Warehouse

TABLES = ("images", "image_properties", "categories", "annotations", "quarantine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = shapes.write_coco(tmp_path_factory.mktemp("at_once"), split="train", num_images=12, seed=3)
    shapes.plant_defects(path)
    return path.parent


def options(folder):
    return {"images": folder / "train", "annotations": folder / "instances_train.json"}


def start(root, folder, dataset):
    given = [text for name, path in options(folder).items() for text in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "lakesight", "ingest", "coco", "--root", str(root), "--dataset", dataset, *given]
    command += ["--split", "train", "--set", "spark.driver_memory=1g"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_same_data_set_twice_and_another(folder, tmp_path, spark, contents):
    root, other = tmp_path / "root", tmp_path / "one_by_one"
    running = [start(root, folder, dataset) for dataset in ("a", "a", "b")]
    try:
        ended = [(process.communicate(timeout=540)[1], process.returncode) for process in running]
    finally:
        for process in running:
            process.kill()
    for said, code in ended:
        assert code == 0, said
        assert "Traceback" not in said
    for dataset in ("a", "b"):
        ingest_coco(other, Config(), **options(folder), dataset=dataset, split="train")
    for name in TABLES:
        assert contents(Warehouse(root), name) == contents(Warehouse(other), name), name
