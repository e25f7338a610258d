"""Settings of `train` out of their range; what a reproduction calls equal."""

import dataclasses

import pytest

from lakesight import config as configuration
from lakesight.errors import ConfigError
from training.reproduce import Reproduction


@pytest.mark.parametrize(
    "override",
    ["steps=0", "accumulate=0", "ema_decay=1.0", "drop_at=[1.5]", "patience=-1", "schedule=linear", "freeze_backbone=some",
     "precision=float16", "layer_decay=1.5", "multi_scale=1", "class_weights=even", "class_weights={cat: 0}"],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(override):
    with pytest.raises(ConfigError):
        configuration.load(None, [f"train.{override}"])


def test_a_reproduction_with_one_other_number_is_not_equal():
    report = Reproduction("a", "b", {"val_AP": (0.5, 0.5), "train_loss": (1.0, 1.0)}, [])
    assert report.equal
    assert not dataclasses.replace(report, metrics=report.metrics | {"train_loss": (1.0, 1.0000001)}).equal
    assert not dataclasses.replace(report, metrics=report.metrics | {"val_AP/cat": (0.1, None)}).equal
