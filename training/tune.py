"""Ray Tune glue: a sweep over `tune.space` -> `tune_trials`. `lakesight tune`.

The sweep is a run in MLflow and every trial a child of it. A trial trains with one worker, whatever
`train.num_workers` is for the final run.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import yaml

from lakesight import cluster, delta, progress
from lakesight import config as configuration
from lakesight.config import Config
from lakesight.errors import SetupError, UserError, of_full_disk
from lakesight.tables import TUNE_TRIALS
from lakesight.warehouse import Warehouse
from training import inputs, resume, runs, tracking
from training.inputs import Inputs
from training.search import TUNED, quiet, refuse_contradictions, refuse_networks, search_space, tune_config
from training.tasks import SCORES
from training.trial import REFUSED, Sweep, run_trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CHECKPOINTS = {"pbt": 4}
"""A trial's; elsewhere one. PBT's others may still want to read an older one."""
_MESSAGE_LINES = 6
"""More is a traceback."""


@dataclass(frozen=True)
class TuneReport:
    """A finished sweep."""

    run_id: str
    metric: str
    best_params: dict[str, Any]
    best_value: float
    num_trials: int
    config_path: Path
    """A configuration with the best parameters."""
    reused: bool


def tune(warehouse: Warehouse, config: Config, *, dataset: str) -> TuneReport:
    """Search for the parameters of the best validation; a finished sweep of equal inputs is re-used.

    One that was killed goes on: trials that had ended are kept, the others go on from their last validation.

    Where every trial failed, the next call starts anew.

    Raises:
        UserError: as `training.fit.train`; `tune` does not suit `train`; or every trial failed.
    """
    refuse_contradictions(config)
    space = search_space(config)
    versions = delta.versions(warehouse, *inputs.TABLES)
    config_hash = runs.fingerprint(dataset, versions, config, "model", "augment", "train", "tune")
    run_id = f"tune-{config_hash[:16]}"
    if _worked(done := _rows(warehouse, run_id)):
        return _report(warehouse, config, run_id, done, reused=True)
    material = inputs.read_inputs(warehouse, config, dataset, versions)
    refuse_networks(config, material.categories)
    with resume.only_here(warehouse, config_hash):
        client = tracking.connect(warehouse)
        begun = resume.begin(warehouse, client, config_hash, run_id, force=False)
        old = begun["mlflow_run_id"]
        with tracking.run(client, run_id, material, config, config_hash=config_hash, mlflow_run_id=old) as parent:
            sweep = Sweep(config, material, tracking.tracking_uri(warehouse), parent)
            with cluster.connected(config.ray):
                results = _search(warehouse, run_id, sweep, space)
            rows = [
                _row(run_id, material, result, _child(client, parent, result), config.train.steps) for result in results
            ]
            runs.put(warehouse, TUNE_TRIALS, run_id, rows)  # those of an earlier call all failed
            resume.forget(warehouse, run_id)
            if not _worked(rows):
                raise _all_failed(run_id, rows)
    return _report(warehouse, config, run_id, _rows(warehouse, run_id), reused=False)


def _search(warehouse: Warehouse, run_id: str, sweep: Sweep, space: dict[str, Any]) -> list[Any]:
    """Ray Tune's result of every trial."""
    config = sweep.config
    _refuse_too_many(config)
    quiet(config)
    from ray import tune as ray_tune

    folder = str(resume.folder(warehouse, run_id))
    needs = {"CPU": 1.0} | ({"GPU": 1.0} if config.train.use_gpu else {})
    trainable = ray_tune.with_parameters(ray_tune.with_resources(run_trial, needs), sweep=sweep)
    if ray_tune.Tuner.can_restore(folder):
        tuner = ray_tune.Tuner.restore(
            folder, trainable, param_space=space, resume_unfinished=True, resume_errored=True
        )
    else:
        tuner = ray_tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune_config(config, space, SCORES[sweep.inputs.task]),
            run_config=_run_config(config, folder),
        )
    label = f"tune {config.model.name}, {config.tune.trials} trials"
    with progress.step(label), cluster.same_interrupt(), _errors_are_there(folder):
        grid = tuner.fit()
    for error in grid.errors:
        if helped := _by_setup(error):
            raise helped
    # Ray Tune takes Ctrl-C, saves where it is, and returns as if all trials had ended.
    saved = ray_tune.Tuner.restore(folder, trainable, param_space=space).get_results()
    if saved.num_terminated + saved.num_errors < config.tune.trials:
        raise KeyboardInterrupt
    return [grid[i] for i in range(len(grid))]


@contextmanager
def _errors_are_there(folder: str) -> Iterator[None]:
    """Ray Tune reads what a trial failed of from a file, which has nothing in it where the disk was full."""
    try:
        yield
    except EOFError as error:
        raise SetupError(
            "a trial failed, and there was no space to write down why",
            where=folder,
            expected="space on the disk",
            fix="make space, then run again: it goes on from the last validations",
        ) from error


def _by_setup(error: Exception | str) -> UserError | None:
    """What a trial failed of, if the next call may fare better: the machine lacked something, most often space."""
    cause = getattr(error, "cause", None)  # Ray wraps what a trial raises; of some errors it keeps the text only
    return cause if isinstance(cause, SetupError) else of_full_disk(Exception(str(error)))


def _refuse_too_many(config: Config) -> None:
    """Ray Data reads beside the trials: without a CPU for it, they would wait for ever."""
    import ray

    cpus, at_once = int(ray.cluster_resources()["CPU"]), min(config.tune.max_concurrent, config.tune.trials)  # type: ignore[no-untyped-call]  # ray's
    if at_once >= cpus:
        raise SetupError(
            f"{at_once} trials at once need {at_once + 1} CPUs, Ray has {cpus}",
            where="tune.max_concurrent",
            fix="lower it, or raise ray.num_cpus (logical ones), or use a larger cluster",
        )


def _run_config(config: Config, folder: str) -> Any:
    from ray import tune as ray_tune

    return ray_tune.RunConfig(
        name=Path(folder).name,
        storage_path=str(Path(folder).parent),
        verbose=0,
        stop={"step": config.train.steps},  # before PBT looks: it would change a trial that has no step left
        checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=_CHECKPOINTS.get(config.tune.scheduler, 1)),
        failure_config=ray_tune.FailureConfig(max_failures=config.train.max_failures),
    )


def _row(run_id: str, material: Inputs, result: Any, mlflow_run_id: str | None, steps: int) -> runs.Row:
    metrics, error = result.metrics or {}, _error(result)
    return {
        "run_id": run_id,
        "trial_id": metrics.get("trial_id") or Path(result.path).name,
        "dataset": material.dataset,
        "table_versions": list(material.versions.items()),
        "params": json.dumps(result.config),
        "metric": SCORES[material.task],
        "value": None if error else metrics.get(SCORES[material.task]),
        "iterations": metrics.get("training_iteration", 0),
        "steps": int(metrics.get("step", 0)),
        "decisions": _decisions(result, steps),
        "status": "ERROR" if error else "TERMINATED",
        "error": error,
        "mlflow_run_id": mlflow_run_id,
        "ended_at": datetime.now(UTC),
    }


def _error(result: Any) -> str | None:
    """Why a trial failed."""
    refused = (result.metrics or {}).get(REFUSED)
    return str(refused or result.error) if refused or result.error else None


def _decisions(result: Any, steps: int) -> list[dict[str, Any]]:
    """What the scheduler did with a trial, from what it reported."""
    metrics, history = result.metrics or {}, result.metrics_dataframe
    if history is None or "origin" not in history:  # it failed before its first validation
        return []
    origins = [json.loads(text) for text in history["origin"].dropna().unique()]
    found = [
        {"step": one["step"], "action": "exploit", "source_trial_id": one["trial"], "params": one["params"]}
        for one in origins
        if one["trial"] != metrics["trial_id"]
    ]
    if not _error(result) and metrics["step"] < steps and not metrics["ended"]:
        found.append({"step": int(metrics["step"]), "action": "stop", "source_trial_id": None, "params": None})
    return found


def _child(client: "MlflowClient", parent: str, result: Any) -> str | None:
    """The trial's MLflow run, closed: a trial that the scheduler stops has no time to do so."""
    trial_id = (result.metrics or {}).get("trial_id")
    experiment = client.get_run(parent).info.experiment_id
    where = f"tags.`mlflow.parentRunId` = '{parent}' and tags.`lakesight.trial_id` = '{trial_id}'"
    ids = [str(found.info.run_id) for found in client.search_runs([experiment], where)]  # the latest first
    for i, mlflow_run_id in enumerate(ids):  # what a killed sweep left, and the trial began again
        client.set_terminated(mlflow_run_id, "KILLED" if i else "FAILED" if _error(result) else "FINISHED")
    return ids[0] if ids else None


def _rows(warehouse: Warehouse, run_id: str) -> list[runs.Row]:
    rows: list[runs.Row] = delta.read(warehouse, TUNE_TRIALS.name, where=pc.field("run_id") == run_id).to_pylist()
    return rows


def _worked(rows: list[runs.Row]) -> list[runs.Row]:
    return [row for row in rows if row["value"] is not None]


def _all_failed(run_id: str, rows: list[runs.Row]) -> UserError:
    lines = (rows[0]["error"] or "").strip().splitlines()
    why = "\n".join(lines if len(lines) <= _MESSAGE_LINES else lines[-1:])
    return UserError(f"all {len(rows)} trials failed (tune_trials, run_id={run_id}), the first one of this:\n{why}")


def _report(warehouse: Warehouse, config: Config, run_id: str, rows: list[runs.Row], *, reused: bool) -> TuneReport:
    best = max(_worked(rows), key=lambda row: row["value"])
    params = json.loads(best["params"])
    place = _write_best(warehouse, run_id, configuration.replace(config, params), best)
    return TuneReport(run_id, best["metric"], params, best["value"], len(rows), place, reused)


def _write_best(warehouse: Warehouse, run_id: str, config: Config, best: runs.Row) -> Path:
    """What `lakesight train --config` takes: the sweep's configuration with the best parameters in it."""
    place = warehouse.state("tuned", f"{run_id}.yaml")
    place.parent.mkdir(exist_ok=True)
    sections = {name: values for name, values in configuration.to_dict(config).items() if name in TUNED}
    score = f"{best['metric']} {best['value']:.3f}"
    text = f"# The best trial of {run_id}: {score} on the validation images.\n" + yaml.safe_dump(sections)
    unfinished = place.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(place)
    return place
