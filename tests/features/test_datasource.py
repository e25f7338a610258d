"""Delta snapshot -> Ray Data -> batches: the planned rows, in the planned order, the same twice."""

import functools
import sys
import time
import uuid

import numpy as np
import pytest
import ray.data
import torch
from ray import cloudpickle

from features.collate import Collate
from features.datasource import TASK_BYTES, dataset
from features.plan import Read, in_order, share, shuffled
from features.snapshot import read_splits
from lakesight import delta
from lakesight.sections import AugmentConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


@pytest.fixture(scope="module")
def splits(shapes_warehouse):
    return read_splits(shapes_warehouse(), "shapes", ("train", "val", "test"))


def image_ids(split, reads):
    ids = [unit.read(["image_id"])["image_id"].to_numpy() for unit in split.units]
    return [int(ids[read.unit][row]) for read in reads for row in read.rows]


def batches(split, reads, *, flip):
    collate = Collate((64, 64), augment=AugmentConfig() if flip else None, seed=3)
    data = dataset(split.units, reads)
    data.context.execution_options.preserve_order = True
    return list(data.iter_torch_batches(batch_size=5, collate_fn=collate))


def test_splits_have_their_rows_and_boxes(splits):
    train, val, test = splits
    assert (train.num_rows, val.num_rows, test.num_rows) == (24, 8, 0)
    assert len(train.num_boxes) == 24
    assert all(1 <= boxes <= 4 for boxes in train.num_boxes)


def test_a_version_can_be_read_again_after_the_table_has_changed(shapes_warehouse, fill_samples):
    warehouse = shapes_warehouse()
    version = delta.version(warehouse, "samples")
    (before,) = read_splits(warehouse, "shapes", ["train"])
    fill_samples(warehouse, "shapes", txn=2)
    (pinned,) = read_splits(warehouse, "shapes", ["train"], version)
    (latest,) = read_splits(warehouse, "shapes", ["train"])
    assert pinned.num_rows == before.num_rows == 24
    assert latest.num_rows == 48


@pytest.mark.parametrize("task_bytes", [1, TASK_BYTES], ids=["a task a read", "all in one task"])
def test_batches_are_the_plan_and_the_same_twice(splits, ray_cluster, monkeypatch, task_bytes):
    monkeypatch.setattr("features.datasource.TASK_BYTES", task_bytes)
    train, *_ = splits
    reads = share(shuffled(train.rows, version=1, seed=0, num_rows=60), rank=1, world=2, batch_size=5)
    first, second = (batches(train, reads, flip=True) for _ in range(2))
    assert [i for batch in first for i in batch.image_ids] == image_ids(train, reads)
    assert {tuple(batch.pixels.shape) for batch in first} == {(5, 64, 64, 3)}
    for ours, theirs in zip(first, second, strict=True):
        assert torch.equal(ours.pixels, theirs.pixels)
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(ours.labels, theirs.labels, strict=True))


def test_validation_sees_every_image_once_and_as_it_is(splits, ray_cluster):
    _, val, _ = splits
    (whole, rest) = batches(val, in_order(val.rows), flip=False)
    assert whole.image_ids + rest.image_ids == image_ids(val, in_order(val.rows))
    assert whole.pixels.dtype == torch.uint8
    for labels, annotations, size in zip(whole.labels, whole.annotations, whole.sizes, strict=True):
        x, y, width, height = np.array([a["bbox"] for a in annotations]).T
        expected = np.stack([x + width / 2, y + height / 2, width, height], axis=1) / size[0]
        np.testing.assert_allclose(labels["boxes"].numpy(), expected, rtol=1e-5)
        assert labels["class_labels"].tolist() == [a["label"] for a in annotations]


def meet(batch, *, folder, wait_s):
    """In a task: whether another one is here, while this one waits."""
    me, deadline = folder / uuid.uuid4().hex, time.monotonic() + wait_s
    me.touch()
    while not (met := len(list(folder.iterdir())) > 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    if not met:
        me.unlink()
    return {"met": [met]}


def two_at_once(data, folder, *, wait_s):
    folder.mkdir()
    met = data.map_batches(functools.partial(meet, folder=folder, wait_s=wait_s), batch_size=None).take_all()
    assert len(met) > 1
    return any(row["met"] for row in met)


def test_tasks_run_side_by_side_once_ray_has_looked_and_others_keep_its_interval(
    splits, ray_cluster, monkeypatch, tmp_path
):
    """At its start Ray takes the cluster for empty: one task at a time until it looks again."""
    monkeypatch.setattr("features.datasource.TASK_BYTES", 1)
    train, *_ = splits
    reads = [Read(0, np.arange(half, half + 4), 0) for half in (0, 4)]
    assert two_at_once(dataset(train.units, reads), tmp_path / "ours", wait_s=60)
    monkeypatch.setattr("features.datasource.LIMITS_S", 3600.0)
    assert not two_at_once(dataset(train.units, reads), tmp_path / "never", wait_s=2)
    assert two_at_once(ray.data.range(2, override_num_blocks=2), tmp_path / "others", wait_s=60)
