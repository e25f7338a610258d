"""Ray Tune glue: one trial, in a process of its own. Light on purpose: Ray's driver imports it too, without torch.

Every validation leaves a checkpoint: an interrupted trial goes on from it, and with PBT also one that did worse.
"""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakesight import config as configuration
from lakesight.config import Config
from lakesight.errors import SetupError, UserError
from training.inputs import Inputs
from training.tasks import SCORES
from training.worker import Job

_OWNER = "trial.json"
REFUSED = "refused"
"""What a trial reports last that only the user can mend: why."""
_NO_VALUE = -1.0
"""COCO's figure for none; schedulers and searchers want a number, and this one is below all."""


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

    from training.checkpoint import copied_to, position
    from training.loop import run, train_batches, val_batches

    trial_id = tune.get_context().get_trial_id()
    config = configuration.replace(sweep.config, params | {"train.num_workers": 1, "train.checkpoint_every": 0})
    last = tune.get_checkpoint()
    with last.as_directory() if last else nullcontext() as folder:
        resume = Path(folder) if folder else None
        owner = json.loads((resume / _OWNER).read_text()) if resume else trial_id
        begun = validated = position(resume).step if resume else 0
        job = Job(config, sweep.inputs, sweep.tracking_uri, _child(sweep, trial_id, params, begun))
        # Ray Tune keeps what is reported: so the history of a trial knows where each part of it began.
        origin = json.dumps({"trial": owner, "step": begun, "params": json.dumps(params)})

        def report(metrics: dict[str, float], made: Path) -> None:
            nonlocal validated
            validated = position(made).step
            (made / _OWNER).write_text(json.dumps(trial_id))
            more = {"origin": origin, "ended": position(made).ended}
            with copied_to(lambda: tune.get_context().get_storage().checkpoint_fs_path):
                tune.report(metrics | more, checkpoint=tune.Checkpoint.from_directory(made))

        try:
            run(
                job,
                train=lambda step: train_batches(job, 0, 1, step),
                val=lambda: val_batches(job),
                report=report,
                seed=config.train.seed,
                resume=resume,
            )
        except SetupError:  # the disk is full: that ends the sweep, and the next one tries again
            raise
        except UserError as error:  # raised, it would be tried again `train.max_failures` times, and fail again
            tune.report({SCORES[sweep.inputs.task]: _NO_VALUE, "step": validated, REFUSED: str(error)})


def _child(sweep: Sweep, trial_id: str, params: dict[str, Any], begun: int) -> str:
    """An MLflow run of this trial's own, under the sweep's, which closes it; one that goes on has it already."""
    from mlflow import MlflowClient

    client = MlflowClient(sweep.tracking_uri)
    experiment = client.get_run(sweep.mlflow_parent).info.experiment_id
    tags = {"mlflow.parentRunId": sweep.mlflow_parent, "lakesight.trial_id": trial_id}
    found = client.search_runs([experiment], " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()))
    if begun and found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, "RUNNING")
    else:
        run_id = str(client.create_run(experiment, run_name=f"trial {trial_id}", tags=tags).info.run_id)
        for key, value in params.items():
            client.log_param(run_id, key, value)
    for key, value in params.items():  # a parameter is for ever, a metric may change
        if isinstance(value, int | float):
            client.log_metric(run_id, f"tuned/{key}", float(value), step=begun)
    return run_id
