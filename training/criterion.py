"""torch glue: boxes of some classes count more than others in the classification loss of transformers' detectors."""

from collections.abc import Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_CLASSIFICATION = ("labels", "vfl", "mal")
"""Names of classification losses, by which a criterion asks itself for them."""


def weigh_classes(network: PreTrainedModel, criterion: type[nn.Module], weights: Sequence[float]) -> None:
    """A query that is matched with a box counts `weights[label]` times in the gradient of the classification loss.

    In every decoder layer, and for denoising queries; one that is matched with nothing counts once. The loss' value
    stays as it is. `criterion`: what computes the loss, `training.architectures.Facts.criterion`.
    """
    loss = network.loss_function
    # transformers' function makes its criterion itself, by a global name: a copy of it finds ours under that name.
    names = loss.__globals__ | {criterion.__name__: _weighted(criterion, weights)}
    network.loss_function = FunctionType(loss.__code__, names, loss.__name__, loss.__defaults__, loss.__closure__)


def _weighted(criterion: type[nn.Module], weights: Sequence[float]) -> type[nn.Module]:
    class Weighted(criterion):  # type: ignore[valid-type, misc]  # a class that comes as an argument
        def get_loss(self, loss: str, outputs: Any, targets: Any, indices: Any, num_boxes: float) -> dict[str, Tensor]:
            if loss in _CLASSIFICATION:
                logits = outputs["logits"]  # [B, Q, C]
                matched = self._get_source_permutation_idx(indices)
                labels = torch.cat([own["class_labels"][j] for own, (_, j) in zip(targets, indices, strict=True)])
                times = logits.new_ones(logits.shape[:2])
                times[matched] = logits.new_tensor(weights)[labels]
                # Adding up over queries, a loss with a gradient so scaled is the loss of queries so weighted.
                outputs = outputs | {"logits": logits.detach() + (logits - logits.detach()) * times[..., None]}
            found: dict[str, Tensor] = super().get_loss(loss, outputs, targets, indices, num_boxes)
            return found

    return Weighted
