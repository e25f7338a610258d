"""torch glue: what a network is given of a batch besides the pixels, so that it computes its loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from features.collate import Batch
from training.tasks import Task


def targets(batch: Batch, task: Task) -> dict[str, Any]:
    """Keyword arguments of transformers' `forward`, on the device of the batch."""
    if task == "detection":
        return {"labels": batch.labels}
    if task == "classification":
        return {"labels": torch.tensor([class_of(rows) for rows in batch.annotations], device=batch.pixels.device)}
    masks, labels = zip(*(_drawn(one) for one in batch.labels), strict=True)
    return {"mask_labels": list(masks), "class_labels": list(labels)}


def class_of(annotations: Sequence[Mapping[str, Any]]) -> int:
    """The label of an image's class, among the annotations of its sample. Images with none or several are left out."""
    return next(int(a["label"]) for a in annotations if a["bbox"] is None)


def _drawn(labels: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, H, W] float32 masks and [N] labels of the objects that have a pixel: others have no mask."""
    there = (labels["masks"] > 0).flatten(1).any(1)
    return labels["masks"][there].float(), labels["class_labels"][there]
