"""SIGKILL anywhere in a check, then the same command again: results and pages of an undisturbed check."""

import shutil
import signal
import subprocess
import sys

import pytest

from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.warehouse import Warehouse
from quality.check import check

CHECK = """
import os, signal, sys
from pathlib import Path
from lakesight import config, demo
from lakesight.warehouse import Warehouse
from quality import check, expectations

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{before}
# The demo's: that JVM lives for one check, of a few rows.
check.check(Warehouse(Path(sys.argv[1])), config.load(demo.CONFIG, ["spark.driver_memory=1g"]))
"""
POINTS = {
    # The first page is written, the index is not.
    "in the middle of Data Docs": """
expectations.load()
from great_expectations.render.renderer.site_builder import DefaultSiteIndexBuilder
DefaultSiteIndexBuilder.build = die""",
    "after Data Docs, before the results": "check._record = die",
    "after the results": """
record = check._record
def record_and_die(*args):
    record(*args)
    die()
check._record = record_and_die""",
}


def ingest(root, path):
    images = path.parent / path.stem.removeprefix("instances_")
    return ingest_coco(root, Config(), images=images, annotations=path, dataset="shapes", split=images.name)


@pytest.fixture(scope="module")
def checked_once(tmp_path_factory, spark):
    """A root that was checked, and has had new rows since."""
    folder = tmp_path_factory.mktemp("check_kill")
    root = folder / "root"
    path = shapes.write_coco(folder / "s", split="train", num_images=20, seed=3)
    shapes.plant_defects(path)
    ingest(root, path)
    check(Warehouse(root), Config())
    ingest(root, shapes.write_coco(folder / "t", split="val", num_images=2, seed=4, first_id=500))
    return Warehouse(root)


def results(warehouse):
    """Rows of `quality_results`, without when they were written."""
    columns = [name for name in delta.read(warehouse, "quality_results").schema.names if name != "checked_at"]
    return sorted(delta.read(warehouse, "quality_results", columns=columns).to_pylist(), key=str)


def validations(warehouse):
    """Pages of Data Docs by suite, one a run."""
    pages = (warehouse.root / "data_docs").rglob("validations/*/*/*/*.html")
    return {page.relative_to(warehouse.root).parts[2:4] for page in pages}


@pytest.mark.slow
def test_a_check_that_is_killed_again_and_again_ends_as_if_nothing_had_been(checked_once, tmp_path):
    undisturbed, killed = (Warehouse(tmp_path / name) for name in ("undisturbed", "killed"))
    for warehouse in (undisturbed, killed):
        shutil.copytree(checked_once.root, warehouse.root)
    before, report = results(checked_once), check(undisturbed, Config())
    for point, lines in POINTS.items():
        program = [sys.executable, "-c", CHECK.format(before=lines), str(killed.root)]
        child = subprocess.run(program, capture_output=True, text=True, timeout=500)
        assert child.returncode == -signal.SIGKILL, (point, child.stderr)
        assert (results(killed) == before) == (point != "after the results")
    again = check(killed, Config())
    assert (again.results, again.failed, again.run_id) == (report.results, report.failed, report.run_id)
    assert results(killed) == results(undisturbed)
    assert validations(killed) == validations(undisturbed)
    assert again.run_id in again.data_docs.read_text()
