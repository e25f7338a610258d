"""Lightning glue: what happens between steps: validation, export, checkpoint, report, early stop."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from features.collate import Batch
from quality.coco import Stats
from training import checkpoint, tracking
from training.checkpoint import Position
from training.classes import Category
from training.detector import Detector
from training.ema import Average
from training.export import export
from training.pictures import sheet
from training.stopping import Progress
from training.tasks import SCORES
from training.validate import detect, validate
from training.worker import EXPORTED, Job

Report = Callable[[dict[str, float], Path], None]
"""Takes the metrics of a validation (none where only a checkpoint was due) and the folder with what rank made of it."""
Batches = Callable[[], Iterable[Batch]]


class Milestones(pl.Callback):
    """Rank 0 validates, on all images at once: the AP of a part of them, or of padded copies, is another number."""

    def __init__(self, job: Job, batches: Batches, report: Report, average: Average | None) -> None:
        """`batches`: all validation images; `average`: the weights that count, if they are not the network's own."""
        self._job = job
        self._batches = batches
        self._report = report
        self._average = average
        self._progress = Progress()

    def state_dict(self) -> dict[str, Any]:
        """How the validations went, for early stopping."""
        return asdict(self._progress)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._progress = Progress(**state_dict)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate and save, where it is time."""
        train, step = self._job.config.train, trainer.global_step
        if (batch_idx + 1) % train.accumulate:
            return
        validates = step % train.val_every == 0 or step == train.steps
        saves = bool(train.checkpoint_every) and step % train.checkpoint_every == 0
        assert isinstance(pl_module, Detector)
        if train.keep_every and step % train.keep_every == 0 and trainer.is_global_zero:
            self._keep(pl_module, step)
        if validates or saves:
            with tempfile.TemporaryDirectory() as folder:
                self._milestone(trainer, pl_module, Path(folder), validates)

    def _keep(self, module: Detector, step: int) -> None:
        with tempfile.TemporaryDirectory() as folder, checkpoint.disk(Path(folder), step):
            self._export(module, Path(folder))
            tracking.keep_network(self._job.tracking_uri, self._job.mlflow_run_id, Path(folder) / EXPORTED, step)

    def _milestone(self, trainer: pl.Trainer, module: Detector, folder: Path, validates: bool) -> None:
        train, score = self._job.config.train, SCORES[self._job.inputs.task]
        metrics = self._validate(trainer, module) if validates and trainer.is_global_zero else {}
        if metrics:
            self._progress = self._progress.after(metrics[score], train.min_delta)
        tired = bool(train.patience) and self._progress.waited >= train.patience
        ended = trainer.strategy.broadcast(tired) or trainer.global_step == train.steps
        with checkpoint.disk(folder, trainer.global_step):
            if metrics:
                self._export(module, folder)
            checkpoint.save(trainer, folder, Position(trainer.global_step, ended))
            self._report(metrics | {"step": float(trainer.global_step)}, folder)
        trainer.should_stop = ended

    def _validate(self, trainer: pl.Trainer, module: Detector) -> dict[str, float]:
        """The metrics of the weights that count; those of the others beside them."""
        config, network = self._job.config, self._average.network if self._average else module.network
        batches = self._with_picture(trainer, network)
        stats = validate(network, batches, config.model, self._job.categories)
        found = _main(stats) | _of_classes(stats, self._job.categories)
        if self._average:
            raw = validate(module.network, self._batches(), config.model, self._job.categories)
            found |= {f"{name}_raw": value for name, value in _main(raw).items()}
        assert trainer.logger is not None
        # Of this process, imports and validations included; no result, so it is not reported as one.
        trainer.logger.log_metrics(found | {"train_cpu_s": time.process_time()}, trainer.global_step)
        return found | {"train_loss": float(trainer.callback_metrics["train_loss"])}

    def _export(self, module: Detector, folder: Path) -> None:
        network, kind = (self._average.network, "average") if self._average else (module.network, "raw")
        export(network, folder / EXPORTED, self._job.config.model, self._job.categories, weights=kind)

    def _with_picture(self, trainer: pl.Trainer, network: Any) -> Iterator[Batch]:
        """The validation batches; of the first one MLflow gets a picture."""
        batches, model = iter(self._batches()), self._job.config.model
        first, most = next(batches), self._job.config.train.val_pictures
        if most:
            found = detect(network, first, model, self._job.categories)[:most]
            picture = sheet(first, found, self._job.categories, model.resize)
            path = f"validation/step-{trainer.global_step:06d}.png"
            tracking.log_picture(self._job.tracking_uri, self._job.mlflow_run_id, picture, path)
        return chain([first], batches)


_NAMES = {"bbox": ("val_AP", "val_AP50"), "segm": ("val_mask_AP", "val_mask_AP50"), "class": ("val_accuracy", "val_F1")}


def _main(stats: Stats) -> dict[str, float]:
    """The two main numbers; F1 is the mean over classes."""
    # No AP: no box that counts, only crowds. The curve then shows what a model cannot be chosen by.
    return {name: metric.value or 0.0 for name, metric in zip(_NAMES[stats.iou_type], stats.overall, strict=False)}


def _of_classes(stats: Stats, categories: Sequence[Category]) -> dict[str, float]:
    """AP of each class; of classified images the recall: the share of the class' images that were told right."""
    whole = stats.iou_type == "class"
    values = stats.per_category("recall", None) if whole else stats.per_category()
    prefix = "val_recall" if whole else _NAMES[stats.iou_type][0]
    named = {f"{prefix}/{tracking.key(category.name)}": values.get(category.category_id) for category in categories}
    return {name: value for name, value in named.items() if value is not None}
