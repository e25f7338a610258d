"""One image and all that is marked on it, in one frame (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.transforms.geometry import Geometry
from features.transforms.masks import Shape, clip, moved, parse
from lakesight.boxes import Boxes, xywh_to_cxcywh
from lakesight.decode import Pixels


@dataclass(frozen=True)
class Example:
    """Pixels with N objects; all coordinates in [0, 1] of the pixels."""

    pixels: Pixels
    """[H, W, 3] RGB."""
    boxes: Boxes
    """[N, 4] cxcywh."""
    labels: NDArray[np.int64]
    """[N]."""
    keypoints: NDArray[np.float64]
    """[N, K, 3] x, y, COCO's visibility (0: none); K is 0 where no object has any."""
    shapes: list[Shape] | None = None
    """N; None: not asked for."""

    def take(self, which: NDArray[np.bool_]) -> "Example":
        """The same with only some of the objects; [N]."""
        shapes = self.shapes and [s for s, wanted in zip(self.shapes, which, strict=True) if wanted]
        return replace(
            self, boxes=self.boxes[which], labels=self.labels[which], keypoints=self.keypoints[which], shapes=shapes
        )


def example(pixels: Pixels, annotations: Sequence[Mapping[str, Any]], *, masks: bool = False) -> Example:
    """A stored image and its annotations (xywh in its pixels).

    Crowd boxes are left out: they cover many objects, and a detector answers with one box an object. So are classes of
    the whole image, which have no box.
    """
    height, width = pixels.shape[:2]
    single = [a for a in annotations if a["bbox"] is not None and not a["iscrowd"]]
    return Example(
        pixels,
        xywh_to_cxcywh([a["bbox"] for a in single], height, width),
        np.array([a["label"] for a in single], dtype=np.int64),
        _keypoints([a.get("keypoints") or [] for a in single], height, width),
        [parse(a["segmentation"], height, width) for a in single] if masks else None,
    )


def _keypoints(triples: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.float64]:
    # What is no triples is as good as none: `check` warns of it.
    whole = [flat if len(flat) % 3 == 0 else [] for flat in triples]
    most = max(map(len, whole), default=0) // 3
    found = np.zeros((len(whole), most, 3))
    for row, flat in zip(found, whole, strict=True):
        row[: len(flat) // 3] = np.reshape(flat, (-1, 3))
    return found / (width, height, 1)


def move(
    one: Example, geometry: Geometry, *, min_visible: float = 0.0, swaps: Sequence[tuple[int, int]] = ()
) -> Example:
    """The example in the geometry's output; objects of which at most `min_visible` of the box is left are dropped.

    `swaps`: pairs of keypoints that change names in a mirror, such as left and right eye.
    """
    points = one.keypoints.copy()
    points[..., :2] = geometry.points(points[..., :2])
    if geometry.mirror[0] != geometry.mirror[1]:
        for left, right in swaps:
            points[:, [left, right]] = points[:, [right, left]]
    shapes = None if one.shapes is None else [moved(shape, geometry) for shape in one.shapes]
    done = Example(geometry.warp(one.pixels), geometry.boxes(one.boxes), one.labels, points, shapes)
    return done if geometry.whole else _cut(done, min_visible)


def _cut(one: Example, min_visible: float) -> Example:
    """Boxes and shapes cut at the border, without what is mostly outside; points outside are not visible."""
    low = np.clip(one.boxes[:, :2] - one.boxes[:, 2:] / 2, 0, 1)
    high = np.clip(one.boxes[:, :2] + one.boxes[:, 2:] / 2, 0, 1)
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
    visible = np.prod(boxes[:, 2:], axis=1) / np.maximum(np.prod(one.boxes[:, 2:], axis=1), 1e-12)
    points = one.keypoints.copy()
    points[((points[..., :2] < 0) | (points[..., :2] > 1)).any(axis=-1)] = 0
    shapes = None if one.shapes is None else [clip(shape) for shape in one.shapes]
    return replace(one, boxes=boxes, keypoints=points, shapes=shapes).take(visible > min_visible)
