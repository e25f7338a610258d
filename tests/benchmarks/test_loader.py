"""The loader benchmark, small: both sides decode every image."""

import numpy as np
import pytest

from benchmarks import loader
from features.torch_dataset import PlannedBatches
from lakesight.decode import decode


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return loader.generate(tmp_path_factory.mktemp("bench"), 64)


def test_pictures_are_as_said(split):
    assert split.num_rows == 64
    contents = [c for unit in split.units for c in unit.read(["content"])["content"].to_pylist()]
    assert {decode(content).shape for content in contents} == {(480, 640, 3)}
    assert 60_000 < np.mean([len(content) for content in contents]) < 250_000


def test_the_loop_decodes_every_image(split):
    batches = PlannedBatches(split, loader._decoded, steps=2, batch_size=loader.BATCH, seed=0)
    assert [len(batch) for batch in batches] == [32, 32]


def test_both_ways_through_ray_deliver_every_image(split, ray_cluster):
    assert loader.through_ray(split) == loader.naive_ray(split, loader.by_pillow) == 64
