"""Every image is scored exactly once: again, split by split, after SIGKILL, and by two at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lakesight import config, delta, shapes
from lakesight.errors import UserError
from lakesight.warehouse import create_warehouse
from serving.pending import find_pending
from serving.predict import _chunks, predict

MODEL = Path(__file__).with_name("brightness_model.py")
SETTINGS = ["predict.commit_images=10", "predict.batch_size=5", "ray.num_cpus=2"]
NUM_IMAGES, BAD_IMAGE = 40, 7


@pytest.fixture(scope="module")
def make(tmp_path_factory, fill):
    """Warehouses with 40 images, of which one is broken, in two splits, and a registered model `brightness`."""

    def make():
        folder = tmp_path_factory.mktemp("predict")
        warehouse = create_warehouse(folder / "root")
        delta.create_tables(warehouse)
        for split, count, first_id in (("train", 30, 1), ("val", 10, 31)):
            instances = shapes.write_coco(folder, split=split, num_images=count, seed=1, first_id=first_id)
            (folder / "train" / f"train_{BAD_IMAGE:06d}.jpg").write_bytes(b"no JPEG")
            fill(warehouse, instances, dataset="shapes", split=split, images=folder / split)
        _register(warehouse)
        return warehouse

    return make


def _register(warehouse):
    import mlflow

    from training import tracking

    tracking.connect(warehouse)
    mlflow.set_experiment(tracking.EXPERIMENT)
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=str(MODEL), registered_model_name="brightness")


@pytest.fixture(scope="module")
def tables(make):
    return make()


def run(warehouse, **changed):
    return predict(warehouse, config.load(None, SETTINGS), model="brightness/1", dataset="shapes", **changed)


def scored(warehouse):
    """Rows by image, without what differs from run to run."""
    rows = delta.read(warehouse, "predictions").drop_columns(["run_id", "predicted_at", "latency_ms"])
    return rows.sort_by("image_id").to_pylist()


PREDICT = f"""
import os, signal, sys; from pathlib import Path
from lakesight import config, delta
from lakesight.warehouse import open_warehouse
from serving.predict import predict
{{before}}
print(predict(open_warehouse(Path(sys.argv[1])), config.load(None, {SETTINGS!r}),
              model="brightness/1", dataset="shapes").num_scored)
"""
KILL_AFTER_A_COMMIT = """
commit = delta.commit
def commit_and_die(*args, **kwargs):
    commit(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
delta.commit = commit_and_die
"""


def start(warehouse, *, before="", delay_s=0.0):
    """The call of `predict` in a process of its own, after the lines `before`."""
    command = [sys.executable, "-c", PREDICT.format(before=before), str(warehouse.root)]
    environment = os.environ | {"BRIGHTNESS_DELAY_S": str(delay_s)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_splits_one_after_the_other_then_nothing(tables, ray_cluster):
    first = run(tables, split="val")
    assert (first.num_images, first.num_scored, first.num_failed, first.num_commits) == (10, 10, 0, 1)
    rest = run(tables)
    assert (rest.num_images, rest.num_scored, rest.num_failed, rest.num_commits) == (40, 30, 1, 3)
    before = delta.version(tables, "predictions")
    again = run(tables)
    assert (again.num_images, again.num_scored, again.num_commits) == (40, 0, 0)
    assert delta.version(tables, "predictions") == before


def test_rows_are_as_the_model_said(tables, ray_cluster):
    run(tables)
    rows = {row["image_id"]: row for row in delta.read(tables, "predictions").to_pylist()}
    assert sorted(rows) == list(range(1, NUM_IMAGES + 1))
    bad, good = rows.pop(BAD_IMAGE), rows[1]
    assert (bad["status"], bad["error"], bad["detections"]) == ("error", "not an image", [])
    assert {row["status"] for row in rows.values()} == {"ok"}
    (detection,) = good["detections"]
    assert 0 < detection.pop("score") < 1
    assert detection == {
        "label": 0, "category_id": 1, "category_name": "circle", "bbox": [1, 2, 30, 40], "segmentation": None,
    }  # fmt: skip
    assert (good["model_name"], good["model_version"], good["source_table"]) == ("brightness", "1", "images")
    assert good["source_version"] == delta.version(tables, "images")
    assert good["latency_ms"] > 0


@pytest.mark.slow
def test_killed_and_run_again_is_as_undisturbed(tables, make, ray_cluster):
    run(tables)
    killed = make()
    process = start(killed, before=KILL_AFTER_A_COMMIT)
    output = process.communicate(timeout=400)
    assert process.returncode == -signal.SIGKILL, output
    assert delta.count(killed, "predictions") == 10
    assert run(killed).num_scored == NUM_IMAGES - 10
    assert scored(killed) == scored(tables)


@pytest.mark.slow
def test_two_at_once_score_every_image_once(tables, make, ray_cluster):
    run(tables)
    shared = make()
    both = [start(shared, delay_s=0.5) for _ in range(2)]
    outputs = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(int(out.split()[-1]) for out, _ in outputs) == NUM_IMAGES
    assert scored(shared) == scored(tables)


def test_only_row_groups_with_wanted_images_are_read(tables, fill, tmp_path, ray_cluster):
    run(tables)
    instances = shapes.write_coco(tmp_path, split="new", num_images=3, seed=9, first_id=501)
    fill(tables, instances, dataset="shapes", split="new", images=tmp_path / "new")
    pending = find_pending(tables, "brightness", "1", "shapes", None)
    assert (pending.num_images, pending.num_pending, len(pending.reads)) == (43, 3, 1)
    (read,) = pending.reads
    assert pending.units[read.unit].read(["image_id"])["image_id"].take(read.rows).to_pylist() == [501, 502, 503]
    assert find_pending(tables, "brightness", "1", "shapes", "val").reads == ()


@pytest.mark.parametrize("changed", [{"split": "test"}, {"model": "nobody"}], ids=["no such split", "no such model"])
def test_wrong_input_is_refused(tables, changed):
    options = {"model": "brightness/1", "dataset": "shapes", "split": None} | changed
    with pytest.raises(UserError):
        predict(tables, config.load(None, SETTINGS), **options)


def test_chunks_keep_every_row_in_order():
    import pyarrow as pa

    batches = [
        pa.table({"x": pa.array(range(start, start + size), pa.int64())})
        for start, size in ((0, 3), (3, 9), (12, 0), (12, 1))
    ]
    chunks = [chunk["x"].to_pylist() for chunk in _chunks(batches, 4)]
    assert [len(chunk) for chunk in chunks] == [4, 4, 4, 1]
    assert [x for chunk in chunks for x in chunk] == list(range(13))
