"""Oversampling of rare classes: LVIS' repeat factor (Gupta, Dollar, Girshick 2019, section 4.1; pure)."""

from dataclasses import replace

import numpy as np

from features.snapshot import Split
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
