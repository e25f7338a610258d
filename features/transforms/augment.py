"""What is drawn for an image, by (seed, epoch, image_id) alone; and what is mixed in from its batch (pure)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.transforms.colour import jitter
from features.transforms.example import Example, move
from features.transforms.geometry import Geometry, Resize, fitted, zoom
from features.transforms.mix import copy_paste, mixup, mosaic
from lakesight.sections import AugmentConfig

Rng = np.random.Generator


def generator(seed: int, epoch: int, image_id: int) -> Rng:
    """The random numbers of an image in an epoch: they depend on neither batch nor worker."""
    return np.random.default_rng([seed, epoch, image_id % 2**63])


def augmented(one: Example, rng: Rng, size: tuple[int, int], config: AugmentConfig, how: Resize = "stretch") -> Example:
    """An image at the size of the model's input, zoomed, mirrored and recoloured as `config` allows."""
    geometry = draw_geometry(rng, one.pixels.shape[:2], size, config, how)
    swaps = [(left, right) for left, right in config.keypoint_swaps]
    done = move(one, geometry, min_visible=config.min_visible, swaps=swaps)
    return replace(done, pixels=jitter(done.pixels, rng, config))


def draw_geometry(
    rng: Rng, source: tuple[int, int], size: tuple[int, int], config: AugmentConfig, how: Resize = "stretch"
) -> Geometry:
    """The picture on the output, or a zoom into or out of it; mirrored at random."""
    left_right, top_bottom = rng.random(2) < (config.horizontal_flip, config.vertical_flip)
    low, high = config.scale
    factor, aspect = np.exp(rng.uniform((np.log(low), -1), (np.log(high), 1)) * (1, np.log1p(config.aspect)))
    at = tuple(rng.random(2).tolist())
    if (low, high) == (1, 1) and not config.aspect:
        found = fitted(source, size, how)
    else:
        place = fitted(source, size, how).place
        factors = factor / np.sqrt(aspect), factor * np.sqrt(aspect)
        found = zoom(source, size, (factors[0] * place.height / size[0], factors[1] * place.width / size[1]), at)
    return replace(found, mirror=(bool(left_right), bool(top_bottom)))


def mixed(batch: Sequence[Example], rngs: Sequence[Rng], config: AugmentConfig) -> list[Example]:
    """Each example, as `config` says with others of the batch in it. Who those are depends on who is in the batch."""
    return [_mixed(one, batch, rng, config) for one, rng in zip(batch, rngs, strict=True)]


def _mixed(one: Example, batch: Sequence[Example], rng: Rng, config: AugmentConfig) -> Example:
    draws = rng.random(3) < (config.mosaic, config.mixup, config.copy_paste)
    others = [batch[i] for i in rng.integers(len(batch), size=3)]
    if draws[0]:
        low, high = MOSAIC_CENTRE
        one = mosaic([one, *others], (rng.uniform(low, high), rng.uniform(low, high)))
    if draws[1]:
        one = mixup(one, others[0], rng.beta(MIXUP_BETA, MIXUP_BETA))
    if draws[2]:
        which = rng.random(len(others[1].labels)) < COPIED
        one = copy_paste(one, others[1], which, config.min_visible)
    return one


MOSAIC_CENTRE = (0.3, 0.7)
"""Where the four meet, in [0, 1]."""
MIXUP_BETA = 32.0
"""Both parameters of the beta distribution of the shares: near a half, as YOLOX and Ultralytics have it."""
COPIED = 0.5
"""Chance of each object of the other image to be copied."""
