"""Numbers of classified images: accuracy, and precision, recall and F1 of each class (pure)."""

import numpy as np
from numpy.typing import NDArray

from quality.coco import Metric, Stats

Ids = NDArray[np.int64]


def class_stats(truth: Ids, found: Ids, category_ids: Ids) -> Stats:
    """Over all images the accuracy, then the means over classes of F1, precision and recall; these of each class.

    `truth`, `found`: [I] category ids, `found` any other number where nothing was found. Means are over classes that
    have an image; F1 and precision of a class that is never found are 0.
    """
    right = truth == found
    each = [_class(truth == category_id, found == category_id) for category_id in category_ids]
    there = [numbers for numbers in each if numbers["recall"] is not None]
    overall: dict[str, float | None] = {"accuracy": float(right.mean()) if len(right) else None}
    overall |= {
        name: float(np.mean([n[name] for n in there])) if there else None for name in ("F1", "precision", "recall")
    }
    metrics = [_metric(name, None, value) for name, value in overall.items()]
    for category_id, numbers in zip(category_ids.tolist(), each, strict=True):
        metrics += [_metric(name, category_id, value) for name, value in numbers.items()]
    return Stats("class", tuple(metrics))


def _class(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, float | None]:
    """None of a class without an image: there is nothing to find."""
    if not truth.any():
        return {"F1": None, "precision": None, "recall": None}
    hits = int((truth & found).sum())
    return {
        "F1": 2 * hits / int(truth.sum() + found.sum()),
        "precision": hits / max(int(found.sum()), 1),
        "recall": hits / int(truth.sum()),
    }


def _metric(name: str, category_id: int | None, value: float | None) -> Metric:
    return Metric(name, None, "all", 1, category_id, value)
