"""MLflow glue: training runs -> the model registry, and names -> models. `lakesight register`, `lakesight promote`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakesight import delta
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse
from training import runs, tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
_RUN_TAG = "lakesight.run_id"
_STEP_TAG = "lakesight.step"


@dataclass(frozen=True)
class ModelVersion:
    """A version in the model registry."""

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class ModelRef:
    """A model one can load: `uri` is MLflow's, in the store that `training.tracking` names."""

    name: str
    version: str
    uri: str
    run_id: str | None
    """The training run it is the best network of: in `predictions`, its version before it was registered."""


def register(warehouse: Warehouse, *, run_id: str | None = None, step: int | None = None) -> ModelVersion:
    """Register a finished run's model: `run_id`, or the latest. Twice gives the same version.

    `step`: of a network that `train.keep_every` kept; default: the best validation's.

    Raises:
        UserError: no such finished run, or it has no network of that step.
    """
    row = finished_run(warehouse, run_id)
    client = tracking.connect(warehouse)
    name = row["model_name"]
    tags = {_RUN_TAG: row["run_id"]} | ({} if step is None else {_STEP_TAG: str(step)})
    for found in _versions(client, name):
        if {key: found.tags[key] for key in (_RUN_TAG, _STEP_TAG) if key in found.tags} == tags:
            return _version(client, found)
    model_id = (row["model_uri"] if step is None else _log_kept(client, row, step)).removeprefix("models:/")
    _ensure_model(client, name)
    made = client.create_model_version(
        name,
        client.get_logged_model(model_id).artifact_location,
        run_id=row["mlflow_run_id"],
        model_id=model_id,
        tags=tags | {"lakesight.dataset": row["dataset"]},
    )
    return _version(client, made)


def _log_kept(client: "MlflowClient", row: runs.Row, step: int) -> str:
    """The network of a step as a model of its run; its MLflow URI."""
    steps = tracking.kept_steps(client, row["mlflow_run_id"])
    if step not in steps:
        raise UserError(
            f"run {row['run_id']} has no network of step {step}",
            where="MLflow, the run's artifacts",
            expected=f"one of {', '.join(map(str, steps))}" if steps else "a run with train.keep_every",
            fix="name a step that is there" if steps else "set train.keep_every and train again",
        )
    with tracking.kept_network(client, row["mlflow_run_id"], step) as folder:
        return tracking.log_model(row["mlflow_run_id"], folder, runs.config(row).model, name=f"step-{step}")


def promote(warehouse: Warehouse, *, name: str, version: str | None = None, alias: str = CHAMPION) -> ModelVersion:
    """Point an alias at a version (default: the latest).

    Raises:
        UserError: no such model or version.
    """
    client = tracking.connect(warehouse)
    wanted = _pick(_versions(client, name), name, version, client)
    client.set_registered_model_alias(name, alias, wanted.version)
    return _version(client, wanted)


def resolve(warehouse: Warehouse, ref: str) -> ModelRef:
    """`name` (its champion, else its latest version), `name@alias`, `name/version`, or the id of a finished run.

    Raises:
        UserError: there is no such model; the message names what there is.
    """
    client = tracking.connect(warehouse)
    for row in runs.finished(warehouse, run_id=ref) if warehouse.exists("training_runs") else ():
        return ModelRef(row["model_name"], row["run_id"], row["model_uri"], row["run_id"])
    name, _, alias = ref.partition("@")
    name, _, version = name.partition("/")
    known = _versions(client, name)
    if known and not version:
        version = _aliased(client, name, alias)
    found = _pick(known, name, version or None, client)
    run_id = None if _STEP_TAG in found.tags else found.tags.get(_RUN_TAG)
    return ModelRef(name, str(found.version), f"models:/{name}/{found.version}", run_id)


def _aliased(client: "MlflowClient", name: str, alias: str) -> str:
    """The version an alias points at; "" where no alias was asked for and there is no champion."""
    aliases = client.get_registered_model(name).aliases
    if alias and alias not in aliases:
        raise UserError(
            f"model {name!r} has no alias {alias!r}",
            where="model registry",
            expected=f"one of {', '.join(sorted(aliases))}" if aliases else "an alias; it has none yet",
            fix=f"`lakesight promote {name} --alias {alias}`",
        )
    return str(aliases.get(alias or CHAMPION, ""))


def _pick(known: list[Any], name: str, version: str | None, client: "MlflowClient") -> Any:
    if not known:
        names = sorted(model.name for model in client.search_registered_models())
        raise UserError(
            f"no model is called {name!r}",
            where="model registry",
            expected=f"one of {', '.join(names)}, or a run id" if names else "a registered model; there is none yet",
            fix="`lakesight register` after training; for detections made elsewhere `lakesight import-detections`",
        )
    for found in known:
        if version in (None, str(found.version)):
            return found
    raise UserError(
        f"model {name!r} has no version {version!r}",
        where="model registry",
        expected=f"one of {', '.join(str(found.version) for found in known)}",
    )


def finished_run(warehouse: Warehouse, run_id: str | None = None) -> runs.Row:
    """The row of a finished run: `run_id`, or the latest.

    Raises:
        UserError: there is none.
    """
    found = runs.finished(warehouse, **({"run_id": run_id} if run_id else {}))
    if found:
        return found[-1]
    rows = delta.read(warehouse, "training_runs", columns=["run_id", "model_name", "status"]).to_pylist()
    there = ", ".join(f"{row['run_id']} ({row['model_name']}, {row['status']})" for row in rows)
    raise UserError(
        f"there is no finished training run {run_id!r}" if run_id else "no training run has finished",
        where="training_runs",
        expected=f"one of {there}" if there else "a run; there is none yet",
        fix="name a finished run" if there else "`lakesight train`",
    )


def _versions(client: "MlflowClient", name: str) -> list[Any]:
    """Versions of a model, latest first."""
    quoted = name.replace("'", "''")
    return sorted(client.search_model_versions(f"name='{quoted}'"), key=lambda found: -int(found.version))


def _version(client: "MlflowClient", found: Any) -> ModelVersion:
    aliases = client.get_model_version(found.name, found.version).aliases
    return ModelVersion(found.name, str(found.version), found.tags.get(_RUN_TAG, ""), tuple(aliases))


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
