"""The learning rate over a run, as a share of its highest value (pure)."""

import math

from lakesight.sections import TrainConfig

_RISE = 0.3
"""Share of the steps in which one-cycle rises (Smith and Topin 2018; torch's default)."""
_START = 0.04
"""Where one-cycle starts (torch's `div_factor` of 25)."""


def lr_factor(step: int, train: TrainConfig) -> float:
    """Share of `lr` at a step (0-based): `train.schedule`, with a linear warm-up before `cosine` and `step`."""
    done = min(step / train.steps, 1.0)
    if train.schedule == "one_cycle":
        if done < _RISE:
            return _between(_START, 1.0, done / _RISE)
        return _between(1.0, train.min_lr_ratio, (done - _RISE) / (1 - _RISE))
    warm = min(1.0, (step + 1) / max(train.warmup_steps, 1))
    if train.schedule == "step":
        return warm * train.drop_factor ** sum(done >= share for share in train.drop_at)
    return warm * _between(1.0, train.min_lr_ratio, done)


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))
