"""Lightning glue: one optimiser step of a model."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch.nn.functional import interpolate
from transformers import PreTrainedModel

from features.collate import Batch
from lakesight.errors import UserError
from lakesight.sections import ModelConfig, TrainConfig
from training.architectures import ARCHITECTURES, has_places
from training.groups import parameter_groups
from training.per_box import shared
from training.pyfunc import normalise
from training.scales import draw_size, sizes
from training.schedule import lr_factor
from training.targets import targets


class Detector(pl.LightningModule):
    """A network of any task that computes its own loss, AdamW, and one learning rate schedule over all steps."""

    def __init__(self, network: PreTrainedModel, model: ModelConfig, train: TrainConfig) -> None:
        """`network`: of `build_network`, with the wanted parameters trainable."""
        super().__init__()
        self.network = network
        self._train = train
        self._facts = ARCHITECTURES[model.architecture]
        self._parts: dict[str, torch.Tensor] = {}
        near = sizes(model.input_size, train.multi_scale, self._facts.multiple)
        self._sizes = tuple(size for size in near if has_places(network.config, size))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch; its parts are logged.

        Raises:
            UserError: the loss is not finite.
        """
        out = self._forward(batch)
        every = out.get("loss_dict") or {}  # only detectors give it
        parts = {name: value.detach() for name, value in every.items() if name.startswith("loss_")}
        # Auxiliary layers repeat each part with a suffix: a curve a part is what one looks at.
        parts = {name: value for name, value in parts.items() if name.count("_") == 1}
        if not torch.isfinite(out.loss):
            raise _not_finite(_stated(parts), batch, self.global_step)
        self._parts = parts
        loss = self._of_all_workers(out.loss, every, batch)
        self.log("train_step", float(self.global_step + 1))
        self.log("train_loss", loss.detach(), sync_dist=True)
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]  # one optimiser
        self.log_dict({f"train_{name}": value for name, value in parts.items()}, sync_dist=True)
        return loss

    @property
    def largest_size(self) -> tuple[int, int]:
        """Of the input, height and width in pixels."""
        return self._sizes[-1]

    def _forward(self, batch: Batch) -> Any:
        try:
            return self.network(pixel_values=self._scaled(normalise(batch.pixels)), **targets(batch, self._facts.task))
        except ValueError as error:
            if not (why := why_unmatched(error)):
                raise
            what = f"{why}; the parts of the step before: {_stated(self._parts)}"
            raise _not_finite(what, batch, self.global_step) from error

    def _of_all_workers(self, loss: torch.Tensor, parts: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        if self.trainer.world_size == 1 or self._facts.counts_all_boxes or not parts:
            return loss
        boxes = float(sum(len(one["class_labels"]) for one in batch.labels))
        mean_boxes = self.trainer.strategy.reduce(torch.tensor(boxes, device=self.device), reduce_op="mean")
        return shared(loss, parts, boxes, float(mean_boxes), self._facts.means)

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> another size, drawn anew every step; boxes and the points of masks are relative and stay."""
        size = draw_size(self._sizes, self._train.seed, self.global_step)
        if size == pixels.shape[-2:]:
            return pixels
        return interpolate(pixels, size=size, mode="bilinear", antialias=True)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rates are those of the configuration: of a trial that goes on from another one's checkpoint they differ."""
        rates = [group["lr"] for group in self._groups()]
        (schedule,) = checkpoint["lr_schedulers"]
        factor = lr_factor(schedule["last_epoch"], self._train)
        for group, rate in zip(checkpoint["optimizer_states"][0]["param_groups"], rates, strict=True):
            group |= {"lr": rate * factor, "initial_lr": rate, "weight_decay": self._train.weight_decay}
        schedule |= {"base_lrs": rates, "_last_lr": [rate * factor for rate in rates]}

    def _groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.network, self._train, self._facts.backbone)

    def configure_optimizers(self) -> Any:
        """AdamW and a learning rate that changes every step."""
        groups = self._groups()
        optimizer = torch.optim.AdamW(groups, lr=self._train.lr, weight_decay=self._train.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, self._train))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


_UNMATCHED = {
    "boxes1 must be": "the network's boxes are NaN",
    "boxes2 must be": "a box of these images is NaN, or has a negative side",
    "invalid numeric entries": "the network's scores are NaN",
}
"""What transformers and SciPy say where they are to match boxes that are none, before there is a loss."""


def why_unmatched(error: ValueError) -> str | None:
    """What an error of the loss means, if it is about numbers that are none."""
    return next((why for sign, why in _UNMATCHED.items() if sign in str(error)), None)


def _stated(parts: dict[str, torch.Tensor]) -> str:
    return ", ".join(f"{name}={value.item():.3g}" for name, value in parts.items()) or "it has no parts"


def _not_finite(what: str, batch: Batch, step: int) -> UserError:
    return UserError(
        f"the loss is not finite at step {step}: {what}",
        where=f"image_ids {batch.image_ids}",
        expected="a finite loss",
        fix="lower train.lr or train.clip_norm, lengthen train.warmup_steps, or look at these images' boxes",
    )
