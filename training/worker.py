"""Ray Train glue: what is sent to the workers. Light on purpose: Ray's controller imports it too, without torch."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lakesight.config import Config
from training.classes import Category
from training.inputs import Inputs

EXPORTED = "model"
"""Folder of the network inside a checkpoint."""


@dataclass(frozen=True)
class Job:
    """What a worker has to know."""

    config: Config
    inputs: Inputs
    tracking_uri: str
    mlflow_run_id: str

    @property
    def categories(self) -> list[Category]:
        """The classes, by label."""
        return self.inputs.categories


def train_worker(settings: dict[str, Job]) -> None:
    """Ray Train's `train_loop_per_worker`: this rank's share of the rows, DDP over all ranks.

    The data is planned here, not given to Ray Train: a worker that resumes starts where its checkpoint says.
    """
    import ray.train
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from training.architectures import ARCHITECTURES
    from training.checkpoint import copied_to
    from training.loop import run, train_batches, val_batches

    job = settings["job"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()

    def report(metrics: dict[str, float], folder: Path) -> None:
        name = f"checkpoint_{int(metrics['step']):09d}"
        with copied_to(lambda: context.get_storage().build_checkpoint_path_from_name(name)):
            ray.train.report(metrics, ray.train.Checkpoint.from_directory(folder), checkpoint_dir_name=name)

    unused = ARCHITECTURES[job.config.model.architecture].unused_parameters
    last = ray.train.get_checkpoint()
    with last.as_directory() if last else nullcontext() as resume:
        run(
            job,
            train=lambda step: train_batches(job, rank, world, step),
            val=lambda: val_batches(job),
            report=report,
            seed=job.config.train.seed + rank,
            resume=Path(resume) if resume else None,
            strategy=RayDDPStrategy(find_unused_parameters=unused),  # type: ignore[no-untyped-call]  # ray's
            plugins=[RayLightningEnvironment()],  # type: ignore[no-untyped-call]  # ray's
        )
