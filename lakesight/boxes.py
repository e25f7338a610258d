"""Box formats, on arrays of shape [..., 4] (pure).

`xywh` is COCO's: left, top, width, height. `xyxy` is left, top, right, bottom. `cxcywh` is centre x, centre y, width,
height; detectors see it normalised to [0, 1] by the un-padded image.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]


def xywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """[..., 4] xywh -> [..., 4] xyxy, same frame."""
    b = _boxes(boxes)
    return np.concatenate([b[..., :2], b[..., :2] + b[..., 2:]], axis=-1)


def xyxy_to_xywh(boxes: ArrayLike) -> Boxes:
    """[..., 4] xyxy -> [..., 4] xywh, same frame."""
    b = _boxes(boxes)
    return np.concatenate([b[..., :2], b[..., 2:] - b[..., :2]], axis=-1)


def xywh_to_cxcywh(boxes: ArrayLike, height: float, width: float) -> Boxes:
    """[..., 4] xywh in pixels -> [..., 4] cxcywh in [0, 1] of an image of `height` x `width` pixels."""
    b = _boxes(boxes)
    scale = np.array([width, height, width, height], dtype=np.float64)
    return np.concatenate([b[..., :2] + b[..., 2:] / 2, b[..., 2:]], axis=-1) / scale


def cxcywh_to_xywh(boxes: ArrayLike, height: float, width: float) -> Boxes:
    """[..., 4] cxcywh in [0, 1] -> [..., 4] xywh in pixels of an image of `height` x `width` pixels."""
    b = _boxes(boxes) * np.array([width, height, width, height], dtype=np.float64)
    return np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., 2:]], axis=-1)


def clip_xyxy(boxes: ArrayLike, height: float, width: float) -> Boxes:
    """[..., 4] xyxy in pixels, cut at the border of an image of `height` x `width` pixels."""
    b = _boxes(boxes)
    return np.clip(b, 0.0, np.array([width, height, width, height], dtype=np.float64))


def iou(a: ArrayLike, b: ArrayLike) -> Boxes:
    """Pairwise intersection over union of [N, 4] and [M, 4] xyxy boxes: [N, M]; 0 where both are empty."""
    a, b = _boxes(a), _boxes(b)
    low = np.maximum(a[:, None, :2], b[None, :, :2])  # [N, M, 2]
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])  # [N, M, 2]
    inter = np.prod(np.clip(high - low, 0.0, None), axis=-1)  # [N, M]
    union = _area(a)[:, None] + _area(b)[None, :] - inter
    overlap: Boxes = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return overlap


def _area(boxes: Boxes) -> Boxes:
    area: Boxes = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=-1)
    return area


def _boxes(boxes: ArrayLike) -> Boxes:
    array = np.asarray(boxes, dtype=np.float64)
    return array.reshape(0, 4) if array.size == 0 else array
