"""The command line: wrong input ends in one message and exit code 2, and leaves nothing behind."""

import json
import logging
import shutil
import socket
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakesight import logs
from lakesight.cli import app as cli
from lakesight.cli.options import seconds
from lakesight.tables import QUARANTINE


@pytest.fixture
def coco(tmp_path):
    """A COCO file and its image folder, to be spoiled."""
    from lakesight import shapes

    file = shapes.write_coco(tmp_path / "in", split="train", num_images=4, seed=1)
    return tmp_path / "in" / "train", file, tmp_path / "root"


def _ingest(run, images, file, root, *more):
    return run("ingest", "coco", "--images", images, "--annotations", file, "--dataset", "d", "--root", root, *more)


def _edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def _missing_file(images, file):
    file.unlink()


def _not_json(images, file):
    file.write_text("{'images': ")


def _no_images_key(images, file):
    _edit(file, lambda d: d.pop("images"))


def _no_categories_key(images, file):
    _edit(file, lambda d: d.pop("categories"))


def _a_list(images, file):
    file.write_text("[1, 2]")


def _no_folder(images, file):
    images.rename(images.with_name("elsewhere"))


def _empty_folder(images, file):
    for image in images.iterdir():
        image.unlink()


def _orphan(images, file):
    _edit(file, lambda d: d["annotations"][0].update(image_id=777))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_missing_file, ["instances_train.json"]),
        (_not_json, ["JSON", "instances_train.json"]),
        (_no_images_key, ["images", "instances_train.json"]),
        (_no_categories_key, ["categories", "instances_train.json"]),
        (_a_list, ["instances_train.json"]),
        (_no_folder, ["train"]),
        (_empty_folder, ["train"]),
        (_orphan, ["777", "allow_orphans"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_wrong_coco_input(run, coco, spoil, words):
    images, file, root = coco
    spoil(images, file)
    code, out, err = _ingest(run, images, file, root)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 6
    for word in words:
        assert word in err
    assert not (root / "warehouse").exists()


def test_unwritable_root(run, coco, tmp_path):
    images, file, _ = coco
    (tmp_path / "taken").touch()
    code, _, err = _ingest(run, images, file, tmp_path / "taken" / "root")
    assert code == 2
    assert "not writable" in err


def test_no_java(run, coco, monkeypatch):
    from pyspark.sql import SparkSession

    images, file, root = coco
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    code, _, err = _ingest(run, images, file, root)
    assert code == 2
    assert "Spark needs Java" in err
    assert "apt-get install" in err


@pytest.mark.parametrize("args", [("quarantine", "list"), ("samples", "show"), ("evaluate",)])
def test_a_root_of_an_older_version_without_a_column_that_must_be_there(run, warehouse, args):
    path = warehouse.path("quarantine")
    shutil.rmtree(path)
    DeltaTable.create(path, schema=pa.schema([field for field in QUARANTINE.arrow if field.name != "record_hash"]))
    code, out, err = run(*args, "--root", warehouse.root)
    assert (code, out) == (2, "")
    assert err.startswith("error: table quarantine has no column record_hash, which must not be NULL")


def test_a_root_of_an_older_version_gets_what_it_lacks(run, warehouse):
    path = warehouse.path("quarantine")
    shutil.rmtree(path)
    shutil.rmtree(warehouse.path("tune_trials"))
    DeltaTable.create(path, schema=pa.schema([field for field in QUARANTINE.arrow if field.name != "typed"]))
    assert run("quarantine", "list", "--root", warehouse.root)[:2] == (0, "quarantine is empty\n")
    assert "typed" in {field.name for field in DeltaTable(path).schema().fields}
    assert warehouse.exists("tune_trials")


def test_unknown_configuration_key(run, warehouse):
    code, _, err = run("check", "--root", warehouse.root, "--set", "check.fail_onn=warn")
    assert code == 2
    assert "did you mean check.fail_on?" in err


def test_unknown_table(run, warehouse, spark):
    code, out, err = run("sql", "SELECT * FROM detectionz", "--root", warehouse.root)
    assert (code, out) == (2, "")
    assert err.startswith("error: no table or view is called detectionz")
    assert "predictions" in err


EXPORT = ("export", "coco", "--to", "nowhere")


@pytest.mark.parametrize("args", [("check",), ("build",), ("train",), ("sql", "SELECT 1"), ("evaluate",), EXPORT])
def test_root_without_tables(run, tmp_path, args):
    code, _, err = run(*args, "--root", tmp_path / "typo")
    assert code == 2
    assert "there are no tables here yet" in err
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("args", [("train",), ("evaluate",), ("predict", "--model", "m"), EXPORT])
def test_unknown_dataset(run, warehouse, args):
    code, _, err = run(*args, "--root", warehouse.root, "--dataset", "nope")
    assert code == 2
    assert "there is no data set 'nope'" in err


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
def test_export(run, warehouse, shapes_coco, fill, tmp_path, format):
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val", images=shapes_coco / "val")
    args = ("export", format, "--root", warehouse.root, "--to", tmp_path / "out")
    code, out, _ = run(*args)
    assert (code, f"{tmp_path / 'out'}: 8 images" in out) == (0, True)
    code, _, err = run(*args)
    assert (code, "add --force to replace that export" in err) == (2, True)
    assert run(*args, "--force", "--images", "none")[0] == 0
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_fail_on_is_one_of_three(run, warehouse):
    code, _, err = run("check", "--root", warehouse.root, "--fail-on", "info")
    assert code == 2
    assert "info" in err
    assert "fail_on" in err


def test_quarantine_lists_and_replays(run, coco, spark):
    images, file, root = coco
    cut = sorted(images.iterdir())[0]
    whole = cut.read_bytes()
    cut.write_bytes(b"")
    code, _, err = _ingest(run, images, file, root)
    assert code == 0, err
    code, out, _ = run("quarantine", "list", "--root", root, "--format", "json")
    found = {row["rule"]: row for row in json.loads(out)}
    assert set(found) == {"image_decodes", "annotation_image_known"}
    assert found["image_decodes"]["example"].startswith("empty: ")
    assert found["image_decodes"]["records"] == 1
    code, out, _ = run("quarantine", "list", "--root", root)
    assert (code, "image_decodes" in out, len(out.splitlines()) <= 6) == (0, True, True)
    cut.write_bytes(whole)
    code, out, _ = run("quarantine", "replay", "--root", root)
    assert (code, "0 are still refused" in out, "images: 1 added" in out) == (0, True, True)
    code, out, _ = run("quarantine", "list", "--root", root)
    assert out == "quarantine is empty\n"


def test_port_in_use(run, warehouse):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("mlflow", "--root", warehouse.root, "--port", port)
    assert code == 2
    assert f"port {port} is in use" in err


def test_json_output_is_json_and_nothing_else(run, warehouse, spark):
    code, out, err = run("sql", "SELECT 1 AS one, 'a' AS a", "--root", warehouse.root, "--format", "json")
    assert (code, json.loads(out), err) == (0, [{"one": 1, "a": "a"}], "")


def test_a_defect_of_ours_points_to_the_log(run, warehouse, monkeypatch):
    from lakesight import sql

    def broken(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(sql, "query", broken)
    code, _, err = run("sql", "SELECT 1", "--root", warehouse.root)
    assert code == 3
    assert "unexpected RuntimeError: boom" in err
    assert "lakesight.log" in err
    assert "Traceback" in Path(warehouse.root / "logs" / "lakesight.log").read_text()


@pytest.mark.parametrize("interval", ["often", "10", "-1s", "0s", "10 days", ""])
def test_an_interval_that_is_none(run, coco, interval):
    images, _, root = coco
    options = ("--watch", images, "--dataset", "d", "--root", root, "--continuous", f"--interval={interval}")
    code, out, err = run("ingest", "stream", *options)
    assert (code, out) == (2, "")
    assert "is no length of time" in err
    assert not root.exists()


@pytest.mark.parametrize(("text", "expected"), [("500ms", 0.5), ("10s", 10), ("1.5 m", 90), ("1h", 3600)])
def test_intervals(text, expected):
    assert seconds(text) == expected


FULL = Path("/dev/full")


def test_a_disk_that_is_full_is_no_defect(run, monkeypatch):
    def spill():
        try:
            FULL.write_bytes(b"0")
        except OSError as error:
            raise RuntimeError("Delta cannot commit") from error

    monkeypatch.setattr(cli, "app", spill)
    code, _, err = run()
    assert code == 2
    assert err.startswith("error: no more can be written")
    assert "No space left on device" in err


def test_a_log_that_cannot_be_written_does_not_bury_the_message(capsys):
    handler = logs._LazyFile(FULL, delay=True)
    handler.emit(logging.makeLogRecord({"msg": "a record"}))
    assert capsys.readouterr().err == ""
