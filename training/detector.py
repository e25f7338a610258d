"""Lightning glue: one optimiser step of a DETR-family detector."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from transformers import PreTrainedModel

from features.collate import Batch
from lakesight.config import TrainConfig
from lakesight.errors import UserError
from training.pyfunc import normalise


class Detector(pl.LightningModule):
    """A network that computes its own loss, AdamW, and one warm-up and cosine over all steps."""

    def __init__(self, network: PreTrainedModel, train: TrainConfig) -> None:
        """`network`: of transformers' object detection family, with the wanted parameters trainable."""
        super().__init__()
        self.network = network
        self._train = train

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch; its parts are logged.

        Raises:
            UserError: the loss is not finite.
        """
        out = self.network(pixel_values=normalise(batch.pixels), labels=batch.labels)
        loss: torch.Tensor = out.loss
        parts = {name: value.detach() for name, value in out.loss_dict.items() if name.startswith("loss_")}
        # Auxiliary layers repeat each part with a suffix: a curve a part is what one looks at.
        parts = {name: value for name, value in parts.items() if name.count("_") == 1}
        if not torch.isfinite(loss):
            raise _not_finite(parts, batch, self.global_step)
        self.log("train_step", float(self.global_step + 1))
        self.log("train_loss", loss.detach())
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]  # one optimiser
        self.log_dict({f"train_{name}": value for name, value in parts.items()})
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW and a learning rate that changes every step."""
        wanted = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(wanted, lr=self._train.lr, weight_decay=self._train.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, self._train))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lr_factor(step: int, train: TrainConfig) -> float:
    """Share of `lr` at a step: linear warm-up times a cosine from 1 to `min_lr_ratio`."""
    warm = min(1.0, (step + 1) / max(train.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / train.steps, 1.0)))
    return warm * (train.min_lr_ratio + (1 - train.min_lr_ratio) * cosine)


def _not_finite(parts: dict[str, torch.Tensor], batch: Batch, step: int) -> UserError:
    values = ", ".join(f"{name}={value.item():.3g}" for name, value in parts.items())
    return UserError(
        f"the loss is not finite at step {step}: {values}",
        where=f"image_ids {batch.image_ids}",
        expected="a finite loss",
        fix="lower train.lr or train.clip_norm, lengthen train.warmup_steps, or look at these images' boxes",
    )
