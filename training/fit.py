"""Ray Train glue: `samples` -> a trained model in MLflow and a row in `training_runs`. `lakesight train`."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lakesight import cluster, delta, progress
from lakesight.config import Config
from lakesight.warehouse import Warehouse, new_run_id
from training import batch_size, inputs, resume, runs, tracking
from training.inputs import Inputs
from training.tasks import SCORES
from training.worker import EXPORTED, Job, train_worker

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL_S = 1.0


@dataclass(frozen=True)
class TrainReport:
    """A finished run."""

    run_id: str
    mlflow_run_id: str
    model_name: str
    model_uri: str
    metrics: dict[str, float]
    reused: bool


def train(
    warehouse: Warehouse,
    config: Config,
    *,
    dataset: str,
    force: bool = False,
    versions: Mapping[str, int] | None = None,
) -> TrainReport:
    """Train on a data set's split `train`, validate on `val`.

    A finished run of equal inputs is re-used, an interrupted one goes on from its last checkpoint; `force` starts anew.
    `versions`: of the tables; default: the latest.

    Raises:
        UserError: nothing to learn from, a configuration that cannot be built, an image that does not decode, a loss
            that is not finite, a disk that is full, a worker that died; or another process trains just this.
    """
    versions = versions or delta.versions(warehouse, *inputs.TABLES)
    config_hash = runs.fingerprint(dataset, versions, config, "model", "augment", "train")
    if not force and (done := runs.finished(warehouse, config_hash=config_hash)):
        _tidy(warehouse, done[-1])
        return _report(done[-1], reused=True)
    material = inputs.read_inputs(warehouse, config, dataset, versions)
    with resume.only_here(warehouse, config_hash):
        client = tracking.connect(warehouse)
        row = runs.new(new_run_id("train"), material, config, config_hash)
        row |= resume.begin(warehouse, client, config_hash, row["run_id"], force=force)
        try:
            with cluster.connected(config.ray):
                config = batch_size.decided(config, material, client, row["mlflow_run_id"])
                row["config"] = runs.stated(config)
                row = _fit(warehouse, client, config, material, row)
        except Exception as error:
            runs.record(warehouse, row | {"status": "failed", "error": str(error), "ended_at": datetime.now(UTC)})
            resume.after_failure(warehouse, row["run_id"], error)
            raise
        _tidy(warehouse, row)
    return _report(row, reused=False)


def _tidy(warehouse: Warehouse, row: runs.Row) -> None:
    """What is left to do once the row of a finished run is there."""
    if resume.folder(warehouse, row["run_id"]).exists():
        tracking.connect(warehouse).set_terminated(row["mlflow_run_id"], "FINISHED")
        resume.forget(warehouse, row["run_id"])


def _report(row: runs.Row, *, reused: bool) -> TrainReport:
    names = ("run_id", "mlflow_run_id", "model_name", "model_uri", "metrics")
    return TrainReport(**{name: row[name] for name in names}, reused=reused)


def _fit(warehouse: Warehouse, client: "MlflowClient", config: Config, material: Inputs, row: runs.Row) -> runs.Row:
    """The run itself, in an MLflow run; its row, which is in `training_runs` then."""
    with tracking.run(
        client, row["run_id"], material, config, config_hash=row["config_hash"], mlflow_run_id=row["mlflow_run_id"]
    ) as mlflow_run_id:
        row["mlflow_run_id"] = mlflow_run_id
        label = f"train {config.model.name}, {config.train.steps:,} steps"
        score = SCORES[material.task]
        with progress.step(label, config.train.steps) as advance, _watch(client, mlflow_run_id, score, advance):
            metrics, folder = _ray_train(warehouse, config, material, row)
        row |= {"metrics": metrics, "model_uri": tracking.log_model(mlflow_run_id, folder, config.model)}
        row |= {"status": "finished", "ended_at": datetime.now(UTC)}
        runs.record(warehouse, row)
    return row


def _ray_train(warehouse: Warehouse, config: Config, material: Inputs, row: runs.Row) -> tuple[dict[str, float], Path]:
    """The metrics and the exported network of the best validation."""
    import ray.train
    from ray.train.torch import TorchTrainer

    from training.failures import EndAtUserError, cause

    settings, score = config.train, SCORES[material.task]
    job = Job(config, material, tracking.tracking_uri(warehouse), row["mlflow_run_id"])
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
        run_config=ray.train.RunConfig(
            name=row["run_id"],  # a run of this name that was interrupted goes on
            storage_path=str(resume.folder(warehouse, row["run_id"]).parent),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=settings.keep_checkpoints, checkpoint_score_attribute=score
            ),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            callbacks=[EndAtUserError()],  # type: ignore[list-item]  # typed as of Train V1
        ),
    )
    try:
        with cluster.same_interrupt():
            result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        if (found := cause(error)) is error:
            raise
        raise found from error
    except KeyboardInterrupt:
        progress.note("interrupted: the same command goes on from the last checkpoint")
        raise
    validated = [(checkpoint, found) for checkpoint, found in result.best_checkpoints or () if score in found]
    assert validated  # the last step always validates
    checkpoint, metrics = max(validated, key=lambda pair: (pair[1][score], pair[1]["step"]))
    return metrics, Path(checkpoint.path) / EXPORTED


@contextmanager
def _watch(client: "MlflowClient", mlflow_run_id: str, score: str, advance: progress.Advance) -> Iterator[None]:
    """Show step, loss and score while the block runs, as the worker logs them to MLflow."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(POLL_S):
            now = client.get_run(mlflow_run_id).data.metrics
            if "train_step" in now:
                sofar = f", {score.removeprefix('val_')} {now[score]:.3f}" if score in now else ""
                note = f"loss {now['train_loss']:.2f}{sofar}"
                advance(now["train_step"], note)

    watcher = threading.Thread(target=poll, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
