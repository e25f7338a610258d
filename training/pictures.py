"""Drawing: validation images with what is on them and what was found (pure)."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from features.collate import Batch
from features.transforms.geometry import Resize, fitted
from features.transforms.masks import parse, rasterise
from training.classes import Category
from training.pyfunc import Found

SIDE = 320
"""Pixels of an image on the sheet."""
SHOWN_FROM = 0.3
"""Score from which a detection is drawn."""
TRUTH, FOUND = (60, 200, 60), (230, 60, 60)


def sheet(
    batch: Batch, found: Sequence[Found], categories: Sequence[Category], how: Resize = "stretch"
) -> NDArray[np.uint8]:
    """[SIDE, N * SIDE, 3] RGB of the first N images as the model sees them: ground truth green, detections red.

    `found`: of each of the N images, as `training.validate.detect` gives it. `how`: they came to the model's input;
    the sheet leaves out what is grey around them.
    """
    names = {category.label: category.name for category in categories}
    return np.concatenate([_draw(batch, i, of, names, how) for i, of in enumerate(found)], axis=1)


def _draw(batch: Batch, i: int, found: Found, names: dict[int, str], how: Resize) -> NDArray[np.uint8]:
    pixels = batch.pixels[i].numpy()
    height, width = batch.sizes[i]
    there = fitted((height, width), pixels.shape[:2], how).place
    pixels = pixels[there.y : there.y + there.height, there.x : there.x + there.width]
    picture = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    scale = np.array([SIDE / width, SIDE / height] * 2)
    shown = np.flatnonzero(found.scores >= SHOWN_FROM)
    for mask in [found.masks[place] for place in shown.tolist()] if found.masks else ():
        _outline(picture, rasterise(parse(mask, height, width), height, width))
    for annotation in batch.annotations[i]:
        _mark(picture, annotation["bbox"], scale, names[annotation["label"]], TRUTH)
    for place in shown:
        box = None if found.boxes is None else found.boxes[place]
        _mark(picture, box, scale, f"{names[int(found.labels[place])]} {found.scores[place]:.2f}", FOUND)
    return picture  # type: ignore[return-value]  # cv2 does not say uint8


def _outline(picture: Any, mask: NDArray[np.uint8]) -> None:
    """The border of a mask of the stored image."""
    small = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    borders, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, borders, -1, FOUND, 1)


def _mark(picture: Any, xywh: Any, scale: NDArray[np.float64], text: str, colour: tuple[int, int, int]) -> None:
    """A box and its text; a class of the whole image, which has no box, is written at the top, or below (found)."""
    if xywh is None:
        _text(picture, text, (4, 14 if colour == TRUTH else SIDE - 6), colour)
    else:
        _box(picture, np.asarray(xywh) * scale, text, colour)


def _box(picture: Any, xywh: NDArray[np.float64], text: str, colour: tuple[int, int, int]) -> None:
    x, y, w, h = (round(float(value)) for value in xywh)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, 1)
    _text(picture, text, (x + 2, y + 11), colour)


def _text(picture: Any, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)
