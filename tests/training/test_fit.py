"""`lakesight train` on Ray: what it leaves in Delta and in MLflow, what it re-uses, what it refuses."""

import functools
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from ray import cloudpickle
from ray.train import WorkerGroupError
from ray.train.torch import TorchTrainer

from lakesight import delta
from lakesight.config import replace
from lakesight.errors import ConfigError, SetupError, TableError, UserError
from lakesight.tables import TRAINING_RUNS
from training import fit, inputs, tracking
from training.fit import train
from training.worker import train_worker

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


@pytest.fixture
def run(trained):
    return tracking.connect(trained.warehouse).get_run(trained.report.mlflow_run_id)


def test_the_row_names_everything_that_decided_the_run(trained, quick_config):
    table = delta.read(trained.warehouse, "training_runs")
    assert [(f.name, f.type) for f in table.schema] == [(f.name, f.type) for f in TRAINING_RUNS.arrow]
    (row,) = table.filter(pa.compute.field("run_id") == trained.report.run_id).to_pylist(maps_as_pydicts="strict")
    assert row["status"] == "finished"
    assert row["table_versions"] == delta.versions(trained.warehouse, "samples", "categories")
    assert json.loads(row["config"])["train"]["steps"] == quick_config.train.steps
    assert {"val_AP", "val_AP50", "train_loss"} <= set(row["metrics"])
    assert row["started_at"] < row["ended_at"]


def test_mlflow_has_parameters_curves_tags_and_the_table_version(trained, run, quick_config):
    client = tracking.connect(trained.warehouse)
    version = delta.version(trained.warehouse, "samples")
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == str(quick_config.train.lr)
    assert run.data.params["model.config.backbone_config.model_type"] == "rt_detr_resnet"
    assert run.data.tags["lakesight.samples_version"] == str(version)
    assert run.data.tags["lakesight.run_id"] == trained.report.run_id
    (seen,) = run.inputs.dataset_inputs
    assert seen.dataset.digest == f"samples@v{version}"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_AP")] == [5, 10]
    for curve in ("train_loss", "lr", "train_loss_bbox"):
        assert client.get_metric_history(run.info.run_id, curve)


def test_the_same_inputs_are_not_trained_twice(trained, quick_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "training.inputs", None)
    before = delta.version(trained.warehouse, "training_runs")
    again = train(trained.warehouse, quick_config, dataset="shapes")
    assert again.reused
    assert again.run_id == trained.report.run_id
    assert delta.version(trained.warehouse, "training_runs") == before


def test_an_unknown_data_set_is_refused(trained, quick_config):
    with pytest.raises(TableError, match="data sets shapes"):
        train(trained.warehouse, quick_config, dataset="shape")


def test_a_split_without_images_is_refused_before_anything_is_written(
    shapes_warehouse, quick_config, fill, shapes_coco
):
    warehouse = shapes_warehouse()
    fill(warehouse, shapes_coco / "instances_val.json", dataset="empty", split="val")
    with pytest.raises(TableError, match="split 'train' of data set 'empty' has no images"):
        train(warehouse, quick_config, dataset="empty")
    assert delta.read(warehouse, "training_runs").num_rows == 0
    assert not warehouse.state("mlflow.db").exists()


def test_a_wrong_model_is_refused_before_anything_is_written(shapes_warehouse, quick_config):
    warehouse = shapes_warehouse()
    with pytest.raises(ConfigError, match="num_queries"):
        train(warehouse, replace(quick_config, {"model.config": {"num_querys": 3}}), dataset="shapes")
    assert delta.read(warehouse, "training_runs").num_rows == 0


def test_a_split_without_boxes_is_refused(shapes_warehouse, quick_config):
    warehouse = shapes_warehouse()
    rows = [row | {"dataset": "bare", "annotations": [], "num_annotations": 0} for row in samples(warehouse)]
    add(warehouse, "samples", rows)
    add(warehouse, "categories", [row | {"dataset": "bare"} for row in delta.read(warehouse, "categories").to_pylist()])
    with pytest.raises(TableError, match="split 'train' of data set 'bare' has no boxes"):
        train(warehouse, quick_config, dataset="bare")
    assert delta.read(warehouse, "training_runs").num_rows == 0


def test_classes_without_examples_and_boxes_without_queries_are_told(shapes_warehouse, quick_config, caplog, capsys):
    warehouse = shapes_warehouse()
    (first, *_) = delta.read(warehouse, "categories").to_pylist()
    add(warehouse, "categories", [first | {"category_id": 99, "label": 3, "name": "hexagon"}])
    few = replace(quick_config, {"model.config.num_queries": 2})
    inputs.read_inputs(warehouse, few, "shapes", delta.versions(warehouse, *inputs.TABLES))
    told = [
        "no training image has a box of hexagon: it cannot be learned",
        "an image has 4 boxes, the model 2 queries: the loss drops the rest",
    ]
    assert caplog.messages == told
    assert capsys.readouterr().err.splitlines() == [f"note: {text}" for text in told]


def samples(warehouse):
    return delta.read(warehouse, "samples").to_pylist()


def add(warehouse, name, rows):
    delta.commit(warehouse, name, pa.Table.from_pylist(rows, delta.TABLES[name].arrow), app_id="test", txn=1)


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (SetupError("the checkpoint of step 4 cannot be written: No space left on device"), True),
        (UserError("the loss is not finite at step 4: loss_vfl=nan"), False),
    ],
)
def test_a_run_that_a_worker_ends_is_recorded_and_what_helps_is_kept(
    shapes_warehouse, quick_config, monkeypatch, error, kept
):
    warehouse = shapes_warehouse()

    def fail(*_):
        raise error

    monkeypatch.setattr(fit, "_ray_train", fail)
    with pytest.raises(type(error)):
        train(warehouse, quick_config, dataset="shapes")
    (row,) = delta.read(warehouse, "training_runs").to_pylist()
    assert (row["status"], row["error"]) == ("failed", str(error))
    assert tracking.connect(warehouse).get_run(row["mlflow_run_id"]).info.status == "FAILED"
    assert any(path.is_dir() for path in warehouse.state("ray").iterdir()) == kept


def test_a_failure_that_is_a_defect_is_not_its_own_cause(shapes_warehouse, quick_config, ray_cluster, monkeypatch):
    """Who looks at what it came of would never end."""
    failure = WorkerGroupError("Training failed due to worker errors", {0: RuntimeError("unused parameters")})

    def fail(self):
        raise failure

    monkeypatch.setattr(TorchTrainer, "fit", fail)
    with pytest.raises(WorkerGroupError) as caught:
        train(shapes_warehouse(), quick_config, dataset="shapes")
    assert caught.value is failure
    assert failure.__cause__ is None


def counted_worker(settings, *, starts):
    with starts.open("a") as file:
        file.write("started\n")
    train_worker(settings)


@pytest.mark.slow
def test_a_run_that_fails_says_why_is_recorded_and_not_tried_again(
    shapes_warehouse, quick_config, ray_cluster, monkeypatch, tmp_path
):
    warehouse, starts = shapes_warehouse(), tmp_path / "starts"
    monkeypatch.setattr(fit, "train_worker", functools.partial(counted_worker, starts=starts))
    (first, *_) = samples(warehouse)
    broken = first | {"image_id": 999, "content": first["content"][:400], "dataset": "broken"}
    add(warehouse, "samples", [broken | {"split": split} for split in ("train", "val")])
    classes = [row | {"dataset": "broken"} for row in delta.read(warehouse, "categories").to_pylist()]
    add(warehouse, "categories", classes)
    with pytest.raises(UserError, match="image_id=999"):
        train(warehouse, replace(quick_config, {"train.max_failures": 2}), dataset="broken")
    assert starts.read_text() == "started\n"
    (row,) = delta.read(warehouse, "training_runs").to_pylist()
    assert row["status"] == "failed"
    assert "image_id=999" in row["error"]
    assert tracking.connect(warehouse).get_run(row["mlflow_run_id"]).info.status == "FAILED"


def spilling_worker(settings):
    """`train_worker` on a disk that is full before the last checkpoint is copied."""
    from ray.train.v2._internal.execution import storage

    copy = storage._pyarrow_fs_copy_files

    def copy_a_part(*, destination, **more):
        if not destination.endswith("10"):
            return copy(destination=destination, **more)
        Path(destination, "part").write_bytes(b"0")
        raise OSError(28, "No space left on device")

    storage._pyarrow_fs_copy_files = copy_a_part
    train_worker(settings)


@pytest.mark.slow
def test_a_checkpoint_that_the_disk_has_no_space_for_leaves_none_of_it(
    shapes_warehouse, quick_config, ray_cluster, monkeypatch
):
    """All of a full disk would be taken by a part of it, and the failure could not be recorded."""
    warehouse = shapes_warehouse()
    monkeypatch.setattr(fit, "train_worker", spilling_worker)
    with pytest.raises(SetupError, match=r"step 10 cannot be written: .*checkpoint_000000010: .*No space left"):
        train(warehouse, quick_config, dataset="shapes")
    (row,) = delta.read(warehouse, "training_runs").to_pylist()
    assert row["status"] == "failed"
    assert [path.name for path in warehouse.state("ray").glob("*/checkpoint_*/")] == ["checkpoint_000000005"]


@pytest.mark.slow
def test_a_table_that_is_vacuumed_under_a_run_is_named(shapes_warehouse, quick_config, ray_cluster, monkeypatch):
    warehouse = shapes_warehouse()
    look = inputs.read_inputs

    def look_and_lose(*args):
        found = look(*args)
        Path(found.val.units[0].path).unlink()
        return found

    monkeypatch.setattr(inputs, "read_inputs", look_and_lose)
    with pytest.raises(TableError, match=r"^a file of the table is gone\n  where: .*\n.*\n.*VACUUM has removed[^\n]*$"):
        train(warehouse, quick_config, dataset="shapes")
    (row,) = delta.read(warehouse, "training_runs").to_pylist()
    assert row["status"] == "failed"
    assert row["error"].startswith("a file of the table is gone")
    assert not [path for path in warehouse.state("ray").iterdir() if path.is_dir()]
