"""Ray Tune glue: a sweep over `tune.space` with ASHA -> `tune_trials`. `lakesight tune`.

The sweep is a run in MLflow and every trial a child of it. A trial trains with one worker, whatever
`train.num_workers` is for the final run.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from lakesight import cluster, delta, progress
from lakesight import config as configuration
from lakesight.config import Config
from lakesight.errors import ConfigError, UserError
from lakesight.tables import TUNE_TRIALS
from lakesight.warehouse import Warehouse
from training import inputs, resume, runs, tracking
from training.inputs import Inputs
from training.trial import Sweep, run_trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRIC = "val_AP"
TUNED = ("model", "augment", "train")
"""Sections that decide a run, and may be searched."""
_SAMPLERS = ("uniform", "loguniform", "randint", "choice")


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
    """Search for the parameters of the highest validation AP; a finished sweep of equal inputs is re-used.

    One that was killed goes on: trials that had ended are kept, the others start again.

    Raises:
        UserError: as `training.fit.train`; or every trial failed.
    """
    space = search_space(config)
    versions = delta.versions(warehouse, *inputs.TABLES)
    config_hash = runs.fingerprint(dataset, versions, config, "model", "augment", "train", "tune")
    run_id = f"tune-{config_hash[:16]}"
    if done := _rows(warehouse, run_id):
        return _report(warehouse, config, run_id, done, reused=True)
    material = inputs.read_inputs(warehouse, config, dataset, versions)
    with resume.only_here(warehouse, config_hash):
        client = tracking.connect(warehouse)
        begun = resume.begin(warehouse, client, config_hash, run_id, force=False)
        old = begun["mlflow_run_id"]
        with tracking.run(client, run_id, material, config, config_hash=config_hash, mlflow_run_id=old) as parent:
            sweep = Sweep(config, material, tracking.tracking_uri(warehouse), parent)
            results = _search(warehouse, run_id, sweep, space)
            rows = [_row(run_id, material, result, _child(client, parent, result)) for result in results]
            table = pa.Table.from_pylist(rows, schema=TUNE_TRIALS.arrow)
            delta.commit(warehouse, TUNE_TRIALS.name, table, app_id=run_id, txn=1)
        resume.forget(warehouse, run_id)
    return _report(warehouse, config, run_id, _rows(warehouse, run_id), reused=False)


def search_space(config: Config) -> dict[str, Any]:
    """`tune.space` as Ray Tune's samplers.

    Raises:
        ConfigError: a parameter that does not exist, or a range that is none.
    """
    from ray import tune as ray_tune

    if "train.batch_size" not in config.tune.space:
        _ = config.train.images  # `auto` is refused before a trial starts
    known = configuration.to_dict(config)
    space: dict[str, Any] = {}
    for key, sampler in config.tune.space.items():
        section, _, field = key.partition(".")
        if section not in TUNED or field.partition(".")[0] not in known[section]:
            raise ConfigError(
                f"{key!r} is nothing to tune",
                where="tune.space",
                expected=" or ".join(f"{name}.FIELD" for name in TUNED),
            )
        if len(sampler) != 1 or not sampler.keys() <= set(_SAMPLERS):
            raise _no_range(key, f"{sampler} is no range")
        ((kind, values),) = sampler.items()
        try:
            space[key] = ray_tune.choice(values) if kind == "choice" else getattr(ray_tune, kind)(*values)
        except (ValueError, TypeError) as error:
            raise _no_range(key, str(error)) from error
    return space


def _no_range(key: str, why: str) -> ConfigError:
    kinds = " | ".join(_SAMPLERS)
    return ConfigError(f"{key}: {why}", where="tune.space", expected=f"{{{kinds}: [...]}}", fix="correct that range")


def _search(warehouse: Warehouse, run_id: str, sweep: Sweep, space: dict[str, Any]) -> list[Any]:
    """Ray Tune's result of every trial."""
    config = sweep.config
    cluster.connect(config.ray)
    from ray import tune as ray_tune

    folder = str(resume.folder(warehouse, run_id))
    trainable = ray_tune.with_parameters(ray_tune.with_resources(run_trial, {"CPU": 1}), sweep=sweep)
    if ray_tune.Tuner.can_restore(folder):
        tuner = ray_tune.Tuner.restore(folder, trainable, param_space=space, resume_unfinished=True)
    else:
        run_config = ray_tune.RunConfig(name=run_id, storage_path=str(Path(folder).parent), verbose=0)
        tuner = ray_tune.Tuner(trainable, param_space=space, tune_config=_tune_config(config), run_config=run_config)
    with progress.step(f"tune {config.model.name}, {config.tune.trials} trials"):
        grid = tuner.fit()
    return [grid[i] for i in range(len(grid))]


def _tune_config(config: Config) -> Any:
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler

    steps = config.train.steps
    return ray_tune.TuneConfig(
        metric=METRIC,
        mode="max",
        num_samples=config.tune.trials,
        max_concurrent_trials=config.tune.max_concurrent,
        scheduler=ASHAScheduler(time_attr="step", max_t=steps, grace_period=min(config.tune.grace_steps, steps)),
    )


def _row(run_id: str, material: Inputs, result: Any, mlflow_run_id: str | None) -> runs.Row:
    metrics = result.metrics or {}
    return {
        "run_id": run_id,
        "trial_id": metrics.get("trial_id") or Path(result.path).name,
        "dataset": material.dataset,
        "table_versions": list(material.versions.items()),
        "params": json.dumps(result.config),
        "metric": METRIC,
        "value": metrics.get(METRIC),
        "iterations": metrics.get("training_iteration", 0),
        "status": "ERROR" if result.error else "TERMINATED",
        "error": str(result.error) if result.error else None,
        "mlflow_run_id": mlflow_run_id,
        "ended_at": datetime.now(UTC),
    }


def _child(client: "MlflowClient", parent: str, result: Any) -> str | None:
    """The trial's MLflow run, closed: a trial that the scheduler stops has no time to do so."""
    trial_id = (result.metrics or {}).get("trial_id")
    experiment = client.get_run(parent).info.experiment_id
    where = f"tags.`mlflow.parentRunId` = '{parent}' and tags.`lakesight.trial_id` = '{trial_id}'"
    ids = [str(found.info.run_id) for found in client.search_runs([experiment], where)]  # the latest first
    for i, mlflow_run_id in enumerate(ids):  # what a killed sweep left, and the trial began again
        client.set_terminated(mlflow_run_id, "KILLED" if i else "FAILED" if result.error else "FINISHED")
    return ids[0] if ids else None


def _rows(warehouse: Warehouse, run_id: str) -> list[runs.Row]:
    rows: list[runs.Row] = delta.read(warehouse, TUNE_TRIALS.name, where=pc.field("run_id") == run_id).to_pylist()
    return rows


def _report(warehouse: Warehouse, config: Config, run_id: str, rows: list[runs.Row], *, reused: bool) -> TuneReport:
    worked = [row for row in rows if row["value"] is not None]
    if not worked:
        raise UserError(
            f"all {len(rows)} trials failed",
            where=f"tune_trials, run_id={run_id}",
            expected="one that reports an AP",
            fix=f"look at the first one's error: {(rows[0]['error'] or '').splitlines()[:1]}",
        )
    best = max(worked, key=lambda row: row["value"])
    params = json.loads(best["params"])
    place = _write_best(warehouse, run_id, configuration.replace(config, params), best["value"])
    return TuneReport(run_id, METRIC, params, best["value"], len(rows), place, reused)


def _write_best(warehouse: Warehouse, run_id: str, config: Config, value: float) -> Path:
    """What `lakesight train --config` takes: the sweep's configuration with the best parameters in it."""
    place = warehouse.state("tuned", f"{run_id}.yaml")
    place.parent.mkdir(exist_ok=True)
    sections = {name: values for name, values in configuration.to_dict(config).items() if name in TUNED}
    text = f"# The best trial of {run_id}: {METRIC} {value:.3f} on the validation images.\n" + yaml.safe_dump(sections)
    unfinished = place.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(place)
    return place
