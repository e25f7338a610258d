"""The loss of several workers is the loss of one with all their images (pure)."""

from collections.abc import Mapping

import torch


def shared(
    loss: torch.Tensor, parts: Mapping[str, torch.Tensor], boxes: float, mean_boxes: float, means: tuple[str, ...]
) -> torch.Tensor:
    """A worker's `loss`, so that its mean over the workers is what one worker with all images would have.

    transformers divides by the boxes of the worker's own images, which gives a box beside few others more weight.

    `parts` of the loss; those whose names start with one of `means` are not divided by boxes. `boxes` of this worker's
    images; `mean_boxes`: their mean over the workers.
    """
    weight = max(boxes, 1.0) / max(mean_boxes, 1.0)
    others = sum((part for name, part in parts.items() if name.startswith(means)), torch.zeros_like(loss))
    return loss * weight + others * (1 - weight)
