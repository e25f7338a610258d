"""Lightning glue: one training run on one worker; knows batches and a way to report, not who provides them."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import MLFlowLogger

from features.collate import Batch, Collate
from lakesight.config import Config
from training import checkpoint
from training.architectures import ARCHITECTURES, build_network
from training.checkpoint import Position, RestoreRandom
from training.criterion import weigh_classes
from training.data_wait import DataWait
from training.detector import Detector
from training.ema import Average
from training.inputs import train_set, val_set
from training.milestones import Batches, Milestones, Report
from training.worker import Job

if TYPE_CHECKING:
    import ray.data

LOG_EVERY = 10
"""Steps between points of a curve; fewer in a run so short that a curve would have less than ten."""
PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def train_batches(job: Job, rank: int, world: int, step: int) -> Iterable[Batch]:
    """What worker `rank` of `world` learns from, from an optimiser step on."""
    config, masks = job.config, job.inputs.masks
    model, train = config.model, config.train
    collate = Collate(model.input_size, resize=model.resize, augment=config.augment, seed=train.seed, masks=masks)
    return _batches(train_set(job.inputs, config, rank, world, step), config, collate)


def val_batches(job: Job) -> Iterable[Batch]:
    """All validation images, as they are."""
    model = job.config.model
    collate = Collate(model.input_size, resize=model.resize, masks=job.inputs.masks)
    return _batches(val_set(job.inputs), job.config, collate)


def _batches(data: "ray.data.Dataset", config: Config, collate: Collate) -> Iterator[Batch]:
    from ray.exceptions import RayTaskError

    data.context.execution_options.preserve_order = True  # Ray gives what is ready first, otherwise
    batches = data.iterator().iter_torch_batches(batch_size=config.train.images, collate_fn=collate, prefetch_batches=2)
    try:
        yield from batches
    except RayTaskError as error:
        raise error.cause from None  # what reading raised; Ray puts a traceback in the place of its message


def run(
    job: Job,
    *,
    train: Callable[[int], Iterable[Batch]],
    val: Batches,
    report: Report,
    seed: int,
    resume: Path | None = None,
    strategy: Any = "auto",
    plugins: list[Any] | None = None,
) -> None:
    """Train one network for `train.steps` steps; validates, saves and reports at milestones and at the end.

    `train`: the batches from a step (0-based) on. `seed`: of this worker's own noise (denoising queries); the weights
    come from `train.seed` on every worker. `resume`: a checkpoint's folder.
    """
    settings = job.config.train
    position = checkpoint.position(resume) if resume else Position()
    if position.ended:
        return
    torch.set_num_threads(settings.threads or max((os.cpu_count() or 1) // settings.num_workers, 1))
    torch.manual_seed(settings.seed)
    network = build_network(job.config.model, settings, job.categories)
    if job.inputs.class_weights:
        criterion = ARCHITECTURES[job.config.model.architecture].criterion
        assert criterion is not None  # `read_inputs` refuses what has none
        weigh_classes(network, criterion, job.inputs.class_weights)
    torch.manual_seed(seed)
    average = Average(network, settings.ema_decay, settings.accumulate) if settings.ema_decay else None
    wait = DataWait()
    callbacks: list[pl.Callback] = [wait] + ([average] if average else [])  # milestones look at it: they come later
    callbacks += [Milestones(job, val, report, average)] + ([RestoreRandom(resume)] if resume else [])
    trainer = _trainer(job, callbacks, strategy, plugins)
    trainer.fit(
        Detector(network, job.config.model, settings),
        wait.timed(train(position.step)),
        ckpt_path=resume / checkpoint.STATE if resume else None,
        weights_only=True if resume else None,
    )


def _trainer(job: Job, callbacks: list[pl.Callback], strategy: Any, plugins: list[Any] | None) -> pl.Trainer:
    settings = job.config.train
    return pl.Trainer(
        max_steps=settings.steps,
        accumulate_grad_batches=settings.accumulate,
        precision=PRECISION[settings.precision],  # type: ignore[arg-type]  # a literal, by way of a dict
        accelerator="gpu" if settings.use_gpu else "cpu",
        devices="auto" if plugins else 1,
        strategy=strategy,
        plugins=plugins,
        gradient_clip_val=settings.clip_norm,
        logger=MLFlowLogger(run_id=job.mlflow_run_id, tracking_uri=job.tracking_uri),
        log_every_n_steps=max(min(LOG_EVERY, settings.steps // 10), 1),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
