"""Lightning glue: one optimiser step of a DETR-family detector."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch.nn.functional import interpolate
from transformers import PreTrainedModel

from features.collate import Batch
from lakesight.errors import UserError
from lakesight.sections import ModelConfig, TrainConfig
from training.architectures import ARCHITECTURES
from training.groups import parameter_groups
from training.pyfunc import normalise
from training.scales import draw_side, sides
from training.schedule import lr_factor


class Detector(pl.LightningModule):
    """A network that computes its own loss, AdamW, and one learning rate schedule over all steps."""

    def __init__(self, network: PreTrainedModel, model: ModelConfig, train: TrainConfig) -> None:
        """`network`: of transformers' object detection family, with the wanted parameters trainable."""
        super().__init__()
        self.network = network
        self._train = train
        self._facts = ARCHITECTURES[model.architecture]
        self._parts: dict[str, torch.Tensor] = {}
        self._sides = sides(model.image_size, train.multi_scale, self._facts.multiple)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch; its parts are logged.

        Raises:
            UserError: the loss is not finite.
        """
        out = self._forward(batch)
        loss: torch.Tensor = out.loss
        parts = {name: value.detach() for name, value in out.loss_dict.items() if name.startswith("loss_")}
        # Auxiliary layers repeat each part with a suffix: a curve a part is what one looks at.
        parts = {name: value for name, value in parts.items() if name.count("_") == 1}
        if not torch.isfinite(loss):
            raise _not_finite(_stated(parts), batch, self.global_step)
        self._parts = parts
        self.log("train_step", float(self.global_step + 1))
        self.log("train_loss", loss.detach())
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]  # one optimiser
        self.log_dict({f"train_{name}": value for name, value in parts.items()})
        return loss

    @property
    def largest_side(self) -> int:
        """Of the input, pixels."""
        return self._sides[-1]

    def _forward(self, batch: Batch) -> Any:
        try:
            return self.network(pixel_values=self._scaled(normalise(batch.pixels)), labels=batch.labels)
        except ValueError as error:
            # What matches boxes refuses NaN, in these words, before there is a loss.
            if "boxes1 must be" not in str(error):
                raise
            what = f"the network's boxes are NaN; the parts of the step before: {_stated(self._parts)}"
            raise _not_finite(what, batch, self.global_step) from error

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> another side, drawn anew every step; boxes are relative and stay."""
        side = draw_side(self._sides, self._train.seed, self.global_step)
        if side == pixels.shape[-1]:
            return pixels
        return interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)

    def configure_optimizers(self) -> Any:
        """AdamW and a learning rate that changes every step."""
        groups = parameter_groups(self.network, self._train, self._facts.backbone)
        optimizer = torch.optim.AdamW(groups, lr=self._train.lr, weight_decay=self._train.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, self._train))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _stated(parts: dict[str, torch.Tensor]) -> str:
    return ", ".join(f"{name}={value.item():.3g}" for name, value in parts.items()) or "none"


def _not_finite(what: str, batch: Batch, step: int) -> UserError:
    return UserError(
        f"the loss is not finite at step {step}: {what}",
        where=f"image_ids {batch.image_ids}",
        expected="a finite loss",
        fix="lower train.lr or train.clip_norm, lengthen train.warmup_steps, or look at these images' boxes",
    )
