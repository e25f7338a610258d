"""Ray Train glue: what is sent to the workers. Light on purpose: Ray's controller imports it too, without torch."""

from dataclasses import dataclass
from pathlib import Path

from lakesight.config import Config
from training.classes import Category

EXPORTED = "model"
"""Folder of the network inside a checkpoint."""


@dataclass(frozen=True)
class Job:
    """What a worker has to know besides its data."""

    config: Config
    categories: list[Category]
    tracking_uri: str
    mlflow_run_id: str


def train_worker(settings: dict[str, Job]) -> None:
    """Ray Train's `train_loop_per_worker`: this rank's shard, DDP over all ranks."""
    import ray.train
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from training.architectures import ARCHITECTURES
    from training.loop import run, train_batches, val_batches

    job = settings["job"]
    rank = ray.train.get_context().get_world_rank()

    def report(metrics: dict[str, float], folder: Path | None) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(folder) if folder else None
        ray.train.report(metrics, checkpoint=checkpoint)

    unused = ARCHITECTURES[job.config.model.architecture].unused_parameters
    run(
        job,
        train=lambda: train_batches(ray.train.get_dataset_shard(f"train-{rank}"), job.config),
        val=lambda: val_batches(ray.train.get_dataset_shard("val"), job.config),
        report=report,
        strategy=RayDDPStrategy(find_unused_parameters=unused),  # type: ignore[no-untyped-call]  # ray's
        plugins=[RayLightningEnvironment()],  # type: ignore[no-untyped-call]  # ray's
        seed=job.config.train.seed + rank,
    )
