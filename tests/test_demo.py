"""End to end: `make demo`, `make demo` again, and every command of the README on what it left."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest

from lakesight import delta, demo, shapes, sql
from lakesight.tables import TABLES
from lakesight.warehouse import open_warehouse

REPO = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def _run(command, folder):
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "SPARK_SUBMIT_OPTS": ""}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's checkout, as far as the README's commands look at it: the demo's root is `lakesight-demo` in it."""
    made = tmp_path_factory.mktemp("user")
    (made / "configs").symlink_to(REPO / "configs")
    return made


@pytest.fixture(scope="module")
def first(folder):
    return _run(f"make -C {REPO} demo ROOT={folder}/lakesight-demo", folder)


@pytest.fixture(scope="module")
def tables(first, folder):
    assert first.returncode == 0, first.stdout + first.stderr
    return open_warehouse(folder / "lakesight-demo")


@pytest.fixture
def ask(tables, spark):
    return lambda statement: sql.query(tables, spark, statement).to_pylist()


def test_prints_what_it_promises(first):
    assert first.returncode == 0, first.stdout + first.stderr
    for title in ("Rows per table", "Quarantine by reason", "Accuracy on val", "Drift of the new images", "Next:"):
        assert title in first.stdout
    assert first.stdout.count("SQL: ") == 3
    assert "Traceback" not in first.stdout + first.stderr
    assert len(first.stderr.splitlines()) < 40, first.stderr


def test_learns(ask):
    rows = ask(demo.ACCURACY)
    found = {row["iou"]: row["value"] for row in rows}
    assert found["0.50"] >= 0.75, rows


def test_finds_exactly_the_planted_defects(ask, tmp_path):
    planted = shapes.plant_defects(shapes.write_coco(tmp_path, split="train", num_images=20, seed=1))
    found = {row["rule"]: row["records"] for row in ask(demo.QUARANTINE)}
    # The boxes of the two refused images follow them, with that reason.
    assert found.pop("annotation_image_known") > 0
    assert found == planted


def test_finds_drift_where_it_was_put_only(ask):
    drifted = ask("SELECT DISTINCT slice_value FROM vision_drift_metrics WHERE is_drift AND slice_key IS NOT NULL")
    assert drifted == [{"slice_value": "yard"}]
    alerts = ask("SELECT DISTINCT slice_value FROM alerts WHERE slice_key IS NOT NULL")
    assert alerts == [{"slice_value": "yard"}]


def test_every_table_is_as_stated(tables, spark):
    for table in TABLES.values():
        seen = spark.read.format("delta").load(str(tables.path(table.name))).schema
        assert seen.simpleString() == spark.createDataFrame([], table.ddl).schema.simpleString()


def test_keys_are_unique(tables):
    for table in TABLES.values():
        keys = Counter(map(str, delta.read(tables, table.name, columns=list(table.key)).to_pylist()))
        assert [key for key, count in keys.items() if count > 1] == [], table.name


def test_every_number_can_be_traced(ask):
    untraced = ask(
        "SELECT e.run_id FROM evaluations e LEFT JOIN training_runs t ON e.model_version = t.run_id "
        "WHERE t.run_id IS NULL OR e.table_version IS NULL OR e.predictions_version IS NULL"
    )
    assert untraced == []


NOT_IN_THE_DEMO = {"duplicates", "leakage"}
"""Queries without a row there: the planted copy is refused, and splits have nothing in common."""


def test_every_dashboard_query_and_view_runs(ask):
    for file in sorted((REPO / "dashboards").glob("*.lvdash.json")):
        for dataset in json.loads(file.read_text())["datasets"]:
            name = dataset["displayName"]
            assert bool(ask("".join(dataset["queryLines"]))) == (name not in NOT_IN_THE_DEMO), name
    for view in sql.views():
        ask(f"SELECT * FROM {view}")


def test_again_adds_nothing(tables, folder):
    before = {name: (delta.version(tables, name), delta.count(tables, name)) for name in TABLES}
    again = _run(f"make -C {REPO} demo ROOT={folder}/lakesight-demo", folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {name: (delta.version(tables, name), delta.count(tables, name)) for name in TABLES} == before


def _readme_commands():
    blocks = re.findall(r"```sh\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    # `make` targets are this very run; the rest is run as it stands, in order.
    return [line for line in lines if line.strip() and not line.startswith(("#", "make ", "git ", "cd "))]


def test_readme_commands_run(tables, folder, spark, run, monkeypatch):
    """Each verb in a process of its own, as a user's; one that comes again in this one, whose Spark has started."""
    monkeypatch.chdir(folder)
    commands, seen = _readme_commands(), set()
    assert len(commands) >= 10
    for command in commands:
        name, *words = shlex.split(command)
        verb = tuple(takewhile(lambda word: not word.startswith("-"), words))
        code, said = _here(run, words) if name == "lakesight" and verb in seen else _there(command, folder)
        seen.add(verb)
        # 1 is an answer, not a failure: a check that fails, drift that was found.
        assert code in (0, 1), f"{command}\n{said}"
        assert "Traceback" not in said, command


def _there(command, folder):
    done = _run(command, folder)
    return done.returncode, done.stdout + done.stderr


def _here(run, words):
    end = words.index(">") if ">" in words else len(words)
    code, out, err = run(*words[:end])
    for file in words[end + 1 :]:
        Path(file).write_text(out)
    return code, out + err
