"""Rare classes: more of their images (LVIS' repeat factor: Gupta, Dollar, Girshick 2019, 4.1), more weight (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from features.snapshot import Split
from lakesight.errors import ConfigError
from training.classes import Category
from training.labels import Ints, Labels


def repeats(labels: Labels, threshold: float, seed: int) -> Ints:
    """[R] how often an epoch has each image: at least once, more for those with a class on few images.

    A class on a share f of the images asks for sqrt(`threshold` / f); an image gets its rarest class' wish. What is
    left of a whole number is drawn once, by `seed`.
    """
    num_images = len(labels.image_id)
    pairs = np.unique(np.stack([labels.row, labels.label]), axis=1)  # an image counts once a class
    share = np.bincount(pairs[1]) / num_images
    wish = np.ones(num_images)
    np.maximum.at(wish, pairs[0], np.sqrt(threshold / share[pairs[1]]))
    return (wish + np.random.default_rng(seed).random(num_images)).astype(np.int64)


def repeated(split: Split, counts: Ints) -> Split:
    """The split with each of its rows as often as `counts` [R] says."""
    ends = np.cumsum([len(rows) for rows in split.rows])
    rows = tuple(np.repeat(rows, part) for rows, part in zip(split.rows, np.split(counts, ends[:-1]), strict=True))
    return replace(split, rows=rows, num_boxes=tuple(np.repeat(split.num_boxes, counts).tolist()))


def class_weights(
    setting: Literal["balanced"] | Mapping[str, float], labels: Labels, categories: Sequence[Category]
) -> tuple[float, ...]:
    """Of each label, `train.class_weights` as numbers; `balanced` is 1 on average over boxes, and 1 without a box.

    Raises:
        ConfigError: a class that there is not.
    """
    names = [category.name for category in categories]
    if setting != "balanced":
        if unknown := sorted(set(setting) - set(names)):
            raise ConfigError(
                f"there is no class {unknown[0]!r}", where="train.class_weights", expected=f"some of {', '.join(names)}"
            )
        return tuple(float(setting.get(name, 1.0)) for name in names)
    counts = np.bincount(labels.single.label, minlength=len(names))
    wish = 1 / np.sqrt(np.maximum(counts, 1))
    wish *= counts.sum() / (wish * counts).sum()
    return tuple(np.where(counts > 0, wish, 1.0).tolist())
