"""Annotations of a sample -> what a detector learns from, and flips of image and boxes together (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakesight.boxes import Boxes, xywh_to_cxcywh
from lakesight.decode import Pixels


def targets(annotations: Sequence[Mapping[str, Any]], height: int, width: int) -> tuple[Boxes, NDArray[np.int64]]:
    """Annotations (xywh, pixels of an image of `height` x `width`) -> [N, 4] cxcywh in [0, 1] and [N] labels.

    Crowd boxes are left out: they cover many objects, and a detector answers with one box an object.
    """
    single = [a for a in annotations if not a["iscrowd"]]
    boxes = xywh_to_cxcywh([a["bbox"] for a in single], height, width)
    return boxes, np.array([a["label"] for a in single], dtype=np.int64)


def draw_flips(seed: int, epoch: int, image_id: int) -> tuple[bool, bool]:
    """Whether to flip (horizontally, vertically): depends on these three only, not on batch or worker."""
    horizontal, vertical = np.random.default_rng([seed, epoch, image_id % 2**63]).random(2) < 0.5
    return bool(horizontal), bool(vertical)


def flip(pixels: Pixels, boxes: Boxes, horizontal: bool, vertical: bool) -> tuple[Pixels, Boxes]:
    """[H, W, 3] and [N, 4] cxcywh in [0, 1], mirrored left to right and top to bottom as asked."""
    pixels = pixels[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    centre = np.where([horizontal, vertical], 1.0 - boxes[:, :2], boxes[:, :2])
    return pixels, np.concatenate([centre, boxes[:, 2:]], axis=1)
