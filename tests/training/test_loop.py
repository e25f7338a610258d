"""Plain Lightning: one run on one worker; what it reports, and that a resumed run is the undisturbed one, bit for bit."""

import io
import shutil
from dataclasses import replace as with_
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from features.collate import Collate
from lakesight import config as configuration
from lakesight import shapes
from lakesight.errors import SetupError, UserError
from lakesight.warehouse import create_warehouse
from training import checkpoint, tracking
from training.checkpoint import Position
from training.classes import Category
from training.inputs import Inputs
from training.loop import run
from training.worker import EXPORTED, Job

CLASSES = [Category(i, 10 * (i + 1), name) for i, name in enumerate(shapes.CATEGORIES)]
SMALL = [
    "model.image_size=64", "model.config.decoder_layers=2", "model.config.num_queries=8", "model.config.d_model=32",
    "model.config.encoder_hidden_dim=32", "model.config.decoder_in_channels=[32,32,32]", "train.steps=8", "train.batch_size=2",
    "train.warmup_steps=2", "train.val_every=4", "model.config.backbone_config.hidden_sizes=[16,16,32,32]",
    "model.config.encoder_in_channels=[16,32,32]", "model.config.backbone_config.embedding_size=16",
]  # fmt: skip


def row(i):
    image, drawn = shapes.draw(np.random.default_rng([7, i]), 64)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    boxes = [[s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]] for s in drawn]
    annotations = [
        {"label": s.label, "category_id": 10 * (s.label + 1), "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
        for s, b in zip(drawn, boxes, strict=True)
    ]
    return {
        "image_id": i,
        "content": buffer.getvalue(),
        "width": 64,
        "height": 64,
        "epoch": 0,
        "annotations": annotations,
    }


ROWS = [row(i) for i in range(64)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return tracking.connect(create_warehouse(tmp_path_factory.mktemp("loop") / "root"))


@pytest.fixture
def job(client):
    """A function: a run of the small detector with these overrides."""

    def make(*overrides):
        settings = configuration.load(Path(__file__).parents[2] / "configs" / "demo.yaml", [*SMALL, *overrides])
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
        mlflow_run_id = client.create_run(experiment).info.run_id
        return Job(settings, Inputs("shapes", {}, CLASSES, None, None), client.tracking_uri, mlflow_run_id)

    return make


class Killed(Exception):
    """Stands for the end of the process: what is left is what was reported."""


def go(job, kept, *, resume=None, kill_after=None):
    """Run; the metrics by step. Reported folders are copied to `kept`/<step>."""
    train = job.config.train
    collate = Collate(job.config.model.input_size, augment=job.config.augment, seed=0)
    reports = {}

    def batches(step):
        first = step * train.accumulate
        for at in range(first, train.steps * train.accumulate):
            rows = [ROWS[(at * train.batch_size + i) % len(ROWS)] for i in range(train.batch_size)]
            yield collate(pa.Table.from_pylist(rows))

    def report(metrics, folder):
        step = int(metrics["step"])
        shutil.copytree(folder, kept / str(step))
        reports[step] = metrics
        if step == kill_after:
            raise Killed

    run(
        job,
        train=batches,
        val=lambda: [Collate(job.config.model.input_size)(pa.Table.from_pylist(ROWS[:4]))],
        report=report,
        seed=0,
        resume=resume,
    )
    return reports


EVERYTHING = (
    "train.ema_decay=0.9", "train.accumulate=2", "train.multi_scale=0.5", "train.schedule=one_cycle",
    "train.checkpoint_every=3", "train.backbone_lr_ratio=0.5",
)  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "kill_after"),
    [((), 4), (EVERYTHING, 3), (EVERYTHING, 6), (("train.checkpoint_every=5", "train.precision=bfloat16"), 5)],
)
def test_a_resumed_run_is_the_undisturbed_run_bit_for_bit(job, tmp_path, overrides, kill_after):
    whole = go(job(*overrides), tmp_path / "whole")
    with pytest.raises(Killed):
        go(job(*overrides), tmp_path / "killed", kill_after=kill_after)
    torch.manual_seed(4711)  # another process is in another state
    rest = go(job(*overrides), tmp_path / "resumed", resume=tmp_path / "killed" / str(kill_after))
    assert min(rest) > kill_after
    assert rest == {step: metrics for step, metrics in whole.items() if step > kill_after}
    ours, theirs = (
        torch.load(tmp_path / name / "8" / checkpoint.STATE, weights_only=True) for name in ("resumed", "whole")
    )
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert_equal(ours[part], theirs[part])
    ours, theirs = (load_file(tmp_path / name / "8" / EXPORTED / "model.safetensors") for name in ("resumed", "whole"))
    assert_equal(ours, theirs)


def assert_equal(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    else:
        assert ours == theirs


def test_the_test_above_can_fail(job, tmp_path):
    """Without the random state the noise of denoising is another one, and so are the weights."""
    whole = go(job(), tmp_path / "whole")
    torch.save({"cpu": torch.get_rng_state(), "cuda": []}, tmp_path / "whole" / "4" / "random-0.pt")
    rest = go(job(), tmp_path / "resumed", resume=tmp_path / "whole" / "4")
    assert rest[8]["train_loss"] != whole[8]["train_loss"]


def test_a_run_that_goes_on_with_other_rates_learns_at_those(job, tmp_path):
    """As a trial does that another one's weights were given to."""
    go(job("train.backbone_lr_ratio=0.5"), tmp_path / "whole")
    other = job("train.backbone_lr_ratio=0.1", "train.lr=3e-3", "train.weight_decay=0.5")
    go(other, tmp_path / "other")
    go(other, tmp_path / "resumed", resume=tmp_path / "whole" / "4")
    ours, theirs = (torch.load(tmp_path / n / "8" / checkpoint.STATE, weights_only=True) for n in ("resumed", "other"))
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    groups = [state["optimizer_states"][0]["param_groups"] for state in (ours, theirs)]
    assert groups[0] == groups[1]
    assert groups[0][0]["initial_lr"] == 3e-3


def test_a_run_that_had_ended_does_nothing_more(job, tmp_path):
    go(job("train.steps=4"), tmp_path / "whole")
    assert go(job("train.steps=4"), tmp_path / "again", resume=tmp_path / "whole" / "4") == {}


def test_with_an_average_both_weights_are_validated_and_the_average_is_exported(job, tmp_path, client):
    settings = job("train.steps=4", "train.ema_decay=0.5")
    reports = go(settings, tmp_path)
    assert {"val_AP", "val_AP50", "val_AP_raw", "val_AP50_raw"} <= reports[4].keys()
    state = torch.load(tmp_path / "4" / checkpoint.STATE, weights_only=True)
    name = "model.enc_score_head.weight"
    exported = load_file(tmp_path / "4" / EXPORTED / "model.safetensors")[name]
    assert torch.equal(exported, state["callbacks"]["Average"][f"module.{name}"])
    assert not torch.equal(exported, state["state_dict"][f"network.{name}"])
    assert '"weights": "average"' in (tmp_path / "4" / EXPORTED / "lakesight.json").read_text()


def test_metrics_have_every_class_and_mlflow_a_picture_each_validation(job, tmp_path, client):
    settings = job()
    reports = go(settings, tmp_path)
    assert {f"val_AP/{name}" for name in shapes.CATEGORIES} <= reports[8].keys()
    found = client.get_run(settings.mlflow_run_id).data.metrics
    assert found["val_AP/circle"] == reports[8]["val_AP/circle"]
    pictures = [file.path for file in client.list_artifacts(settings.mlflow_run_id, "validation")]
    assert pictures == ["validation/step-000004.png", "validation/step-000008.png"]
    image = mlflow.artifacts.load_image(f"runs:/{settings.mlflow_run_id}/{pictures[0]}")
    assert image.size == (4 * 320, 320)


def test_what_a_run_costs_is_a_curve_beside_the_results(job, tmp_path, client):
    settings = job("train.val_pictures=0")
    reports = go(settings, tmp_path)
    points = client.get_metric_history(settings.mlflow_run_id, "train_cpu_s")
    assert [point.step for point in points] == list(reports) == [4, 8]
    assert 0 < points[0].value < points[1].value
    waits = client.get_metric_history(settings.mlflow_run_id, "data_wait_share")
    assert waits
    assert all(0 <= point.value < 1 for point in waits)
    assert not {"train_cpu_s", "data_wait_share"} & set(reports[8])  # a result is the same each time


def test_networks_of_every_so_many_steps_stay_with_the_run(job, tmp_path, client):
    settings = job("train.keep_every=3", "train.val_every=6", "train.val_pictures=0")
    go(settings, tmp_path)
    run_id = settings.mlflow_run_id
    assert tracking.kept_steps(client, run_id) == [3, 6]
    with tracking.kept_network(client, run_id, 6) as kept:
        assert_equal(load_file(kept / "model.safetensors"), load_file(tmp_path / "6" / EXPORTED / "model.safetensors"))
    with tracking.kept_network(client, run_id, 3) as early:
        assert {path.name for path in early.iterdir()} == {"config.json", "model.safetensors", "lakesight.json"}


def test_it_stops_where_nothing_gets_better(job, tmp_path):
    settings = job("train.val_every=1", "train.patience=2", "train.min_delta=1.0", "train.val_pictures=0")
    assert list(go(settings, tmp_path)) == [1, 2, 3]
    assert checkpoint.position(tmp_path / "3") == Position(3, ended=True)


def test_class_weights_change_what_is_learned_and_not_the_first_loss(job, tmp_path):
    plain = job("train.steps=2", "train.val_every=1", "train.val_pictures=0")
    weighted = with_(plain, inputs=with_(plain.inputs, class_weights=(5.0, 1.0, 1.0)))
    ours, theirs = go(weighted, tmp_path / "weighted"), go(plain, tmp_path / "plain")
    assert ours[1]["train_loss"] == pytest.approx(theirs[1]["train_loss"], rel=1e-6)
    assert ours[2]["train_loss"] != pytest.approx(theirs[2]["train_loss"], rel=1e-6)


def test_gradient_checkpointing_changes_memory_not_the_loss(job, tmp_path):
    detr = with_(
        job("train.steps=1", "train.val_every=1"),
        config=configuration.load(
            Path(__file__).parents[2] / "configs" / "detr.yaml",
            ["model.image_size=64", "train.steps=1", "train.batch_size=2", "train.val_pictures=0", "train.threads=1"],
        ),
    )
    same = with_(detr, config=configuration.replace(detr.config, {"train.gradient_checkpointing": True}))
    assert go(detr, tmp_path / "a")[1]["train_loss"] == pytest.approx(
        go(same, tmp_path / "b")[1]["train_loss"], rel=1e-4
    )


def test_a_run_that_diverges_stops_and_names_step_parts_and_images(job, tmp_path):
    wild = job("train.lr=1e30", "train.clip_norm=0", "train.warmup_steps=0")
    with pytest.raises(
        UserError, match=r"(?s)not finite at step \d.*loss_bbox=.*image_ids \[\d+, \d+\].*lower train.lr"
    ):
        go(wild, tmp_path)


def test_a_full_disk_is_told_with_the_step(job, tmp_path, monkeypatch):
    def save(trainer, folder, position, *, original=checkpoint.save):
        (folder / "random-0.pt").symlink_to("/dev/full")
        original(trainer, folder, position)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(SetupError, match=r"checkpoint of step 4 cannot be written"):
        go(job(), tmp_path)
