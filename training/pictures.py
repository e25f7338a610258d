"""Drawing: validation images with what is on them and what was found (pure)."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from features.collate import Batch
from training.classes import Category

SIDE = 320
"""Pixels of an image on the sheet."""
SHOWN_FROM = 0.3
"""Score from which a detection is drawn."""
TRUTH, FOUND = (60, 200, 60), (230, 60, 60)


def sheet(batch: Batch, found: Sequence[NDArray[np.float64]], categories: Sequence[Category]) -> NDArray[np.uint8]:
    """[SIDE, N * SIDE, 3] RGB of the first N images as the model sees them: ground truth green, detections red.

    `found`: of each of the N images [K, 7], as `training.validate.detect` gives them.
    """
    names = {category.category_id: category.name for category in categories}
    return np.concatenate([_draw(batch, i, rows, names) for i, rows in enumerate(found)], axis=1)


def _draw(batch: Batch, i: int, rows: NDArray[np.float64], names: dict[int, str]) -> NDArray[np.uint8]:
    picture = cv2.resize(batch.pixels[i].numpy(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    height, width = batch.sizes[i]
    scale = np.array([SIDE / width, SIDE / height] * 2)
    for annotation in batch.annotations[i]:
        _box(picture, np.array(annotation["bbox"]) * scale, names[annotation["category_id"]], TRUTH)
    for row in rows[rows[:, 5] >= SHOWN_FROM]:
        _box(picture, row[1:5] * scale, f"{names[int(row[6])]} {row[5]:.2f}", FOUND)
    return picture  # type: ignore[return-value]  # cv2 does not say uint8


def _box(picture: Any, xywh: NDArray[np.float64], text: str, colour: tuple[int, int, int]) -> None:
    x, y, w, h = (round(float(value)) for value in xywh)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, 1)
    cv2.putText(picture, text, (x + 2, y + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)
