"""Shared engines: one Spark session, one Ray cluster, a fresh warehouse a test."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakesight import cluster, config, delta, shapes
from lakesight import spark as spark_session
from lakesight.tables import TABLES
from lakesight.warehouse import create_warehouse


@pytest.fixture(scope="session")
def data():
    """The folder of real data, or a skip with the reason."""
    folder = os.environ.get("LAKESIGHT_TEST_DATA")
    if not folder:
        pytest.skip("LAKESIGHT_TEST_DATA is not set: no real images")
    return Path(folder).resolve()


@pytest.fixture
def warehouse(tmp_path):
    """An empty warehouse with all tables."""
    made = create_warehouse(tmp_path / "root")
    delta.create_tables(made)
    return made


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """The one Spark session of the run."""
    made = create_warehouse(tmp_path_factory.mktemp("spark"))
    settings = config.SparkConfig(master="local[2]", driver_memory="1g")
    session = spark_session.session(made, settings)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ray_cluster():
    """The one Ray cluster of the run, with 4 logical CPUs."""
    import ray

    cluster.connect(config.RayConfig(num_cpus=4))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shapes_coco(tmp_path_factory):
    """24 train and 8 val images of shapes, 96 px: the folder of `write_coco`."""
    folder = tmp_path_factory.mktemp("shapes")
    shapes.write_coco(folder, split="train", num_images=24, seed=1, first_id=1)
    shapes.write_coco(folder, split="val", num_images=8, seed=2, first_id=1001)
    return folder


@pytest.fixture(scope="session")
def fill():
    """A COCO data set -> images, annotations, categories without a JVM, for tests of what reads those tables."""
    return _fill


def _fill(warehouse, instances, *, dataset, split, images=None):
    """`images`: the folder of the files; None leaves `content` NULL."""
    coco = json.loads(Path(instances).read_text())
    shared = {"dataset": dataset, "run_id": "test", "ingested_at": datetime.now(UTC)}
    rows = {
        "images": [
            {
                **shared,
                "image_id": image["id"],
                "file_name": image["file_name"],
                "content": (Path(images) / image["file_name"]).read_bytes() if images else None,
                "width": image["width"],
                "height": image["height"],
                "split": split,
                "metadata": [("camera", image["camera"])] if "camera" in image else None,
            }
            for image in coco["images"]
        ],
        "annotations": [
            {
                **shared,
                "annotation_id": a["id"],
                **{key: a.get(key) for key in ("image_id", "category_id", "bbox", "area", "iscrowd")},
            }
            for a in coco["annotations"]
        ],
        "categories": [
            {**shared, "category_id": c["id"], "name": c["name"], "label": label}
            for label, c in enumerate(sorted(coco["categories"], key=lambda c: c["id"]))
        ],
    }
    for name, records in rows.items():
        app_id = f"fill/{dataset}" if name == "categories" else f"fill/{dataset}/{split}"
        delta.commit(warehouse, name, pa.Table.from_pylist(records, TABLES[name].arrow), app_id=app_id, txn=1)
