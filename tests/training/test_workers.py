"""Ray Train's workers: one that dies is replaced, and the weights come out bit for bit as undisturbed."""

import functools
import os
import signal
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from ray import cloudpickle

from lakesight import config as configuration
from lakesight import delta
from lakesight.config import replace
from lakesight.errors import SetupError
from training import fit, tracking
from training.fit import train

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


def mortal_worker(settings, *, deaths: dict[int, tuple[int, Path]]):
    """`train_worker`, whose rank r is killed in step s, the first time it is there, for r: (s, a file to make)."""
    import ray.train

    from training.detector import Detector
    from training.worker import train_worker

    step = Detector.training_step

    def mortal_step(self, batch, batch_idx):
        at, died = deaths.get(ray.train.get_context().get_world_rank(), (None, None))
        if self.global_step == at and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, batch_idx)

    Detector.training_step = mortal_step
    train_worker(settings)


@pytest.fixture
def kill(monkeypatch, tmp_path):
    """A function: worker `rank` will be killed in `step`, once; the files that are there afterwards."""

    def arrange(steps):
        deaths = {rank: (step, tmp_path / f"{rank}-died-in-{step}") for rank, step in steps.items()}
        monkeypatch.setattr(fit, "train_worker", functools.partial(mortal_worker, deaths=deaths))
        return [path for _, path in deaths.values()]

    return arrange


def weights(warehouse, report):
    """Of this run: others may have trained in a warehouse that tests share."""
    model = report.model_uri.removeprefix("models:/")
    (path,) = warehouse.state("mlartifacts", "models", model).rglob("model.safetensors")
    return path.read_bytes()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_nothing_else_changes(trained, shapes_warehouse, quick_config, kill):
    warehouse = shapes_warehouse()
    (died,) = kill({0: 8})
    settings = replace(quick_config, {"train.max_failures": 1, "train.checkpoint_every": 3})
    report = train(warehouse, settings, dataset="shapes")
    assert died.exists()
    assert report.metrics == trained.report.metrics
    assert weights(warehouse, report) == weights(trained.warehouse, trained.report)


@pytest.mark.slow
def test_two_workers_that_die_by_turns_end_as_if_nothing_had_been(shapes_warehouse, quick_config, ray_cluster, kill):
    """One is replaced within the run, the other one ends it; the next call goes on."""
    settings = replace(
        quick_config,
        {"train.num_workers": 2, "train.batch_size": 2, "train.steps": 6, "train.val_every": 6}
        | {"train.checkpoint_every": 2, "train.max_failures": 1, "train.ema_decay": 0.9},
    )
    undisturbed, warehouse = shapes_warehouse(), shapes_warehouse()
    whole = train(undisturbed, settings, dataset="shapes")
    assert_usable(undisturbed, whole.model_uri)

    died = kill({1: 3, 0: 5})
    with pytest.raises(SetupError, match=r"the process of worker \d died"):
        train(warehouse, settings, dataset="shapes")
    assert all(path.exists() for path in died)
    again = train(warehouse, settings, dataset="shapes")
    assert again.metrics == whole.metrics
    assert weights(warehouse, again) == weights(undisturbed, whole)
    assert [row["status"] for row in delta.read(warehouse, "training_runs").to_pylist()] == ["finished"]


def assert_usable(warehouse, model_uri):
    tracking.connect(warehouse)
    image = delta.read(warehouse, "samples", columns=["content"])["content"][0].as_py()
    found = mlflow.pyfunc.load_model(model_uri).predict(pd.DataFrame({"image": [image]}))
    assert found["error"].isna().all()


CONDITIONAL_DETR = {
    "backbone_config": {
        "model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
        "layer_type": "basic", "out_features": ["stage4"],
    },
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 12, "dropout": 0.0,
}  # fmt: skip


@pytest.mark.slow
def test_two_workers_learn_what_one_with_their_images_learns(shapes_warehouse, quick_config, ray_cluster):
    """In a network without live BatchNorm and without noise. The images have 1 to 4 boxes each."""
    warehouse = shapes_warehouse()
    data = configuration.to_dict(quick_config)
    data["model"] |= {"architecture": "conditional_detr", "image_size": 64, "config": CONDITIONAL_DETR}
    data["train"] |= {"steps": 6, "val_every": 6, "freeze_batch_norm": True, "val_pictures": 0}
    curves = []
    for num_workers in (1, 2):
        data["train"] |= {"num_workers": num_workers, "batch_size": 8 // num_workers}
        report = train(warehouse, configuration.load_dict(data), dataset="shapes")
        history = tracking.connect(warehouse).get_metric_history(report.mlflow_run_id, "train_loss")
        curves.append([point.value for point in history])
    assert len(curves[0]) == 6
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
