"""Lightning glue: a moving average of a network's weights, which is validated and exported in their place."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch.optim.swa_utils import AveragedModel
from transformers import PreTrainedModel


class Average(pl.Callback):
    """Follows a network with `decay`, a step of the optimiser at a time; buffers are averaged too."""

    def __init__(self, network: PreTrainedModel, decay: float, accumulate: int) -> None:
        """`accumulate`: batches a step."""
        self._averaged = AveragedModel(network, multi_avg_fn=_mover(decay), use_buffers=True)
        self._accumulate = accumulate

    @property
    def network(self) -> PreTrainedModel:
        """The averaged network."""
        averaged: PreTrainedModel = self._averaged.module  # type: ignore[assignment]  # a copy of what was given
        return averaged

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """To where the network is."""
        self._averaged.to(pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow, where the optimiser made a step."""
        if (batch_idx + 1) % self._accumulate == 0:
            self._averaged.update_parameters(pl_module.network)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return self._averaged.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._averaged.load_state_dict(state_dict)


def _mover(decay: float) -> Callable[[Any, Any, Any], None]:
    def move(average: Any, current: Any, num_averaged: Any) -> None:
        # A young average moves faster, or it would long remember the first, random weights.
        now = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        if torch.is_floating_point(average[0]):
            torch._foreach_lerp_(average, current, 1 - now)
        else:  # how many batches BatchNorm has counted
            torch._foreach_copy_(average, current)

    return move
