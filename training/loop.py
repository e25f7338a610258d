"""Lightning glue: one training run on one worker; knows batches and a way to report, not who provides them."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import MLFlowLogger

from features.collate import Batch, Collate
from lakesight.config import Config
from training.architectures import build_network
from training.detector import Detector
from training.export import export
from training.validate import validate
from training.worker import EXPORTED, Job

LOG_EVERY = 10
"""Steps between points of a curve; fewer in a run so short that a curve would have less than ten."""

Report = Callable[[dict[str, float], Path | None], None]
"""Takes the metrics of a validation, and the folder of the exported network (rank 0 only)."""
Batches = Callable[[], Iterable[Batch]]


def train_batches(shard: Any, config: Config) -> Iterable[Batch]:
    """Exactly `train.steps` batches of a Ray Data iterator that was planned so."""
    collate = Collate(config.model.image_size, augment=config.augment, seed=config.train.seed)
    return _batches(shard, config, collate)


def val_batches(shard: Any, config: Config) -> Iterable[Batch]:
    """All validation images, as they are."""
    return _batches(shard, config, Collate(config.model.image_size))


def _batches(shard: Any, config: Config, collate: Collate) -> Iterable[Batch]:
    batches: Iterable[Batch] = shard.iter_torch_batches(
        batch_size=config.train.batch_size, collate_fn=collate, prefetch_batches=2
    )
    return batches


def run(
    job: Job,
    *,
    train: Batches,
    val: Batches,
    report: Report,
    seed: int,
    strategy: Any = "auto",
    plugins: list[Any] | None = None,
) -> None:
    """Train one network for `train.steps` steps; validates, exports and reports every `val_every` and at the end.

    `seed`: of this worker's own noise (denoising queries); the weights come from `train.seed` on every worker.
    """
    settings = job.config.train
    torch.set_num_threads(settings.threads or max((os.cpu_count() or 1) // settings.num_workers, 1))
    torch.manual_seed(settings.seed)
    network = build_network(job.config.model, settings, job.categories)
    torch.manual_seed(seed)
    trainer = pl.Trainer(
        max_steps=settings.steps,
        accelerator="gpu" if settings.use_gpu else "cpu",
        devices="auto" if plugins else 1,
        strategy=strategy,
        plugins=plugins,
        gradient_clip_val=settings.clip_norm,
        logger=MLFlowLogger(run_id=job.mlflow_run_id, tracking_uri=job.tracking_uri),
        log_every_n_steps=max(min(LOG_EVERY, settings.steps // 10), 1),
        callbacks=[_Validation(job, val, report)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(Detector(network, settings), train())


class _Validation(pl.Callback):
    """On rank 0, on all validation images at once: AP of a part of them, or of padded copies, is another number."""

    def __init__(self, job: Job, batches: Batches, report: Report) -> None:
        self._job = job
        self._batches = batches
        self._report = report

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate, export and report, where it is time."""
        settings = self._job.config.train
        if trainer.global_step % settings.val_every and trainer.global_step != settings.steps:
            return
        if not trainer.is_global_zero:
            self._report({}, None)  # waits for rank 0
            return
        assert isinstance(pl_module, Detector)
        metrics = self._validate(trainer, pl_module)
        with tempfile.TemporaryDirectory() as folder:
            export(pl_module.network, Path(folder) / EXPORTED, self._job.config.model, self._job.categories)
            self._report(metrics, Path(folder))

    def _validate(self, trainer: pl.Trainer, module: Detector) -> dict[str, float]:
        stats = validate(module.network, self._batches(), self._job.config.model, self._job.categories)
        # No AP: no box that counts, only crowds. The curve then shows what a model cannot be chosen by.
        found = {"val_AP": stats.ap or 0.0, "val_AP50": stats.ap50 or 0.0}
        assert trainer.logger is not None
        trainer.logger.log_metrics(found, trainer.global_step)
        return found | {"train_loss": float(trainer.callback_metrics["train_loss"]), "step": trainer.global_step}
