"""Ray Tune glue: one trial, in a process of its own. Light on purpose: Ray's driver imports it too, without torch."""

from dataclasses import dataclass
from typing import Any

from lakesight import config as configuration
from lakesight.config import Config
from training.inputs import Inputs
from training.worker import Job


@dataclass(frozen=True)
class Sweep:
    """What every trial has to know besides its parameters."""

    config: Config
    inputs: Inputs
    tracking_uri: str
    mlflow_parent: str


def run_trial(params: dict[str, Any], sweep: Sweep) -> None:
    """Ray Tune's trainable: train with `params` and report every validation."""
    from ray import tune

    from training.loop import run, train_batches, val_batches

    config = configuration.replace(sweep.config, params | {"train.num_workers": 1})
    job = Job(config, sweep.inputs, sweep.tracking_uri, _start_child(sweep, params))
    run(
        job,
        train=lambda step: train_batches(job, 0, 1, step),
        val=lambda: val_batches(job),
        report=lambda metrics, folder: tune.report(metrics),
        seed=config.train.seed,
    )


def _start_child(sweep: Sweep, params: dict[str, Any]) -> str:
    """An MLflow run of this trial's own, under the sweep's; the sweep closes it."""
    from mlflow import MlflowClient
    from ray import tune

    trial_id = tune.get_context().get_trial_id()
    client = MlflowClient(sweep.tracking_uri)
    experiment = client.get_run(sweep.mlflow_parent).info.experiment_id
    tags = {"mlflow.parentRunId": sweep.mlflow_parent, "lakesight.trial_id": trial_id}
    run_id = client.create_run(experiment, run_name=f"trial {trial_id}", tags=tags).info.run_id
    for key, value in params.items():
        client.log_param(run_id, key, value)
    return str(run_id)
