"""Shared engines: one Spark session, one Ray cluster, a fresh warehouse a test."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakesight import cluster, config, delta, sections, shapes
from lakesight import spark as spark_session
from lakesight.cli import app as cli
from lakesight.collector import look_at_all_seldom
from lakesight.tables import TABLES, TIME
from lakesight.warehouse import Warehouse, create_warehouse
from training import fit, register
from training.fit import TrainReport
from training.register import ModelVersion

JVM = "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
"""To verify Spark's own classes is no test of ours. The demo's JVMs do even that, as a user's."""
FIRST = (
    "tests/test_demo.py",
    "tests/pipelines/test_pipeline.py",
    "tests/pipelines/test_folders.py",
    "tests/serving/test_server.py",
    "tests/lakesight/test_connect.py",
    "tests/training/test_workers.py",
    "tests/training/test_tune.py",
    "tests/training/test_kill.py",
    "tests/training/test_ray_on_spark.py",
)
"""The longest file; beside it those that share the server, so that only one is started; and what must not run alone last."""


def pytest_configure(config):
    """For every JVM of the run: the session's, the server's, those of commands; and the collector as in a command."""
    os.environ["SPARK_SUBMIT_OPTS"] = JVM
    look_at_all_seldom()


def pytest_collection_modifyitems(items):
    """Whole files are moved, those of `FIRST` alone."""
    place = {path: number for number, path in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(FIRST)))


def pytest_sessionfinish(session, exitstatus):
    """With the real images at hand nothing may be left out: a skip fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []  # a worker process has none
    if os.environ.get("LAKESIGHT_TEST_DATA") and skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
    settings = sections.SparkConfig(master="local[2]", driver_memory="1g")
    session = spark_session.session(made, settings)
    yield session
    session.stop()


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `lakesight ARGS` in this process: (exit code, stdout, stderr)."""

    def _run(*args):
        monkeypatch.setattr(sys, "argv", ["lakesight", *(str(arg) for arg in args)])
        handlers = logging.getLogger().handlers[:]
        with pytest.raises(SystemExit) as ended:
            cli.main()
        logging.getLogger().handlers[:] = handlers
        out = capsys.readouterr()
        return ended.value.code or 0, out.out, out.err

    return _run


@dataclass(frozen=True)
class Server:
    """`lakesight server` over a root."""

    warehouse: Warehouse
    jdbc_port: int
    connect_port: int
    printed: str

    @property
    def connect(self):
        return f"sc://127.0.0.1:{self.connect_port}"

    def run(self, *args):
        """`lakesight ARGS` in a process of its own, against the server."""
        command = [sys.executable, "-m", "lakesight", *map(str, args), "--root", str(self.warehouse.root)]
        command += ["--set", f"spark.remote={self.connect}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def query(self, text):
        """Rows of a statement, by Spark Connect; beside the run's local session."""
        from pyspark.sql.connect.session import SparkSession

        session = SparkSession.builder.remote(self.connect).create()
        try:
            return session.sql(text).toArrow().to_pylist(maps_as_pydicts="strict")
        finally:
            session.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _serving(root):
    """`lakesight server` in a process of its own, up; the block may end it."""
    ports = free_port(), free_port()
    command = [sys.executable, "-m", "lakesight", "server", "--root", str(root), "--set", "spark.master=local[2]"]
    command += ["--port", str(ports[0]), "--connect-port", str(ports[1])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, f"the server ended: {printed}"
            printed += line
        yield process, Server(Warehouse(root), *ports, printed)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def serving():
    """A function: a context with the process of a new server over a root, and the `Server`."""
    return _serving


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The one server of the run; it must end in order when it is told to."""
    with _serving(tmp_path_factory.mktemp("server") / "root") as (process, running):
        yield running
    assert process.returncode == 0
    for port in (running.jdbc_port, running.connect_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)), "the JVM is still there"


@pytest.fixture(scope="session")
def ray_cluster():
    """The one Ray cluster of the run, with 4 logical CPUs."""
    with cluster.connected(sections.RayConfig(num_cpus=4)):
        yield


@pytest.fixture(scope="session")
def shapes_coco(tmp_path_factory):
    """24 train and 8 val images of shapes, 96 px: the folder of `write_coco`."""
    folder = tmp_path_factory.mktemp("shapes")
    shapes.write_coco(folder, split="train", num_images=24, seed=1, first_id=1)
    shapes.write_coco(folder, split="val", num_images=8, seed=2, first_id=1001)
    return folder


@pytest.fixture(scope="session")
def contents():
    """A function: a table's rows by key, without the columns that say when and by whom."""
    return _contents


def _contents(warehouse, name):
    columns = [
        c.name for c in TABLES[name].columns if c.name != "run_id" and (c.type != TIME or c.name == "captured_at")
    ]
    table = delta.read(warehouse, name, columns=columns)
    return sorted(table.to_pylist(), key=lambda row: [str(row[key]) for key in TABLES[name].key])


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
                "captured_at": datetime.fromisoformat(f"{image['date_captured']}+00:00") if "camera" in image else None,
                "metadata": [("camera", image["camera"])] if "camera" in image else None,
            }
            for image in coco["images"]
        ],
        "annotations": [
            {
                **shared,
                "annotation_id": a["id"],
                **{key: a.get(key) for key in ("image_id", "category_id", "bbox", "area", "iscrowd")},
                "segmentation": json.dumps(a["segmentation"]) if "segmentation" in a else None,
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


@pytest.fixture(scope="session")
def fill_samples():
    """`samples` of a data set from its images, annotations and categories, without a JVM."""
    return _fill_samples


def _fill_samples(warehouse, dataset, *, txn=1):
    images, annotations, categories = (
        [row for row in delta.read(warehouse, name).to_pylist() if row["dataset"] == dataset]
        for name in ("images", "annotations", "categories")
    )
    labels = {row["category_id"]: row["label"] for row in categories}
    rows = []
    for image in images:
        nested = [a | {"label": labels[a["category_id"]]} for a in annotations if a["image_id"] == image["image_id"]]
        row = {
            name: image[name] for name in ("dataset", "image_id", "file_name", "content", "width", "height", "split")
        }
        rows.append(row | {"annotations": nested, "num_annotations": len(nested), "run_id": "test"})
    table = pa.Table.from_pylist(rows, TABLES["samples"].arrow)
    delta.commit(warehouse, "samples", table, app_id=f"fill/{dataset}", txn=txn)


@pytest.fixture(scope="session")
def quick_config():
    """The demo's detector, trained for 10 steps of 4 images."""
    demo = Path(__file__).parents[1] / "configs" / "demo.yaml"
    small = {"steps": 10, "batch_size": 4, "val_every": 5, "warmup_steps": 2}
    return config.load(demo, ["model.name=detector", *(f"train.{key}={value}" for key, value in small.items())])


@pytest.fixture(scope="session")
def shapes_warehouse(tmp_path_factory, shapes_coco):
    """A function: a new warehouse with the 32 pictures of `shapes_coco` up to `samples`, as data set `shapes`."""

    def make():
        made = create_warehouse(tmp_path_factory.mktemp("shapes") / "root")
        delta.create_tables(made)
        for split in ("train", "val"):
            instances = shapes_coco / f"instances_{split}.json"
            _fill(made, instances, dataset="shapes", split=split, images=shapes_coco / split)
        _fill_samples(made, "shapes")
        return made

    return make


@dataclass(frozen=True)
class Trained:
    """A warehouse with one training run, whose model is registered as `detector` and promoted."""

    warehouse: Warehouse
    report: TrainReport
    version: ModelVersion


@pytest.fixture(scope="session")
def trained(shapes_warehouse, quick_config, ray_cluster):
    """The one training run on Ray that all tests share: 10 steps on the pictures of `shapes_coco`."""
    warehouse = shapes_warehouse()
    report = fit.train(warehouse, quick_config, dataset="shapes")
    registered = register.register(warehouse)
    return Trained(warehouse, report, register.promote(warehouse, name=registered.name))
