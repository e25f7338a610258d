"""MLflow glue: an interrupted run is found and goes on, in the same folder of checkpoints and the same MLflow run.

`<root>/ray/<run_id>/` is there from a run's start until it finishes, or fails in a way that would only repeat itself.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakesight.errors import SetupError, UserError
from lakesight.warehouse import Warehouse
from training import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient


def folder(warehouse: Warehouse, run_id: str) -> Path:
    """Of a run's checkpoints."""
    return warehouse.state("ray", run_id)


@contextmanager
def only_here(warehouse: Warehouse, config_hash: str) -> Iterator[None]:
    """Hold the right to train what has this hash; the kernel frees it when the process dies.

    Raises:
        UserError: another process holds it.
    """
    place = warehouse.state("ray", f"{config_hash[:16]}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                "another process is training just this", where=str(place), fix="wait for it, or end it and run again"
            ) from error
        yield


def begin(
    warehouse: Warehouse, client: "MlflowClient", config_hash: str, run_id: str, *, force: bool
) -> dict[str, Any]:
    """`run_id` and `mlflow_run_id` of the interrupted run of this hash; else `run_id`, a new run, and None.

    `force`: what was interrupted is given up.
    """
    found: dict[str, Any] = {"run_id": run_id, "mlflow_run_id": None}
    for old_run_id, mlflow_run_id in tracking.runs_of(client, config_hash):
        if folder(warehouse, old_run_id).is_dir():
            if not force:
                found = {"run_id": old_run_id, "mlflow_run_id": mlflow_run_id}
                break
            client.set_terminated(mlflow_run_id, "KILLED")
            forget(warehouse, old_run_id)
    folder(warehouse, found["run_id"]).mkdir(parents=True, exist_ok=True)
    return found


def after_failure(warehouse: Warehouse, run_id: str, error: Exception) -> None:
    """Keep the checkpoints where the next try may fare better: a worker died, or the disk was full."""
    if isinstance(error, UserError) and not isinstance(error, SetupError):
        forget(warehouse, run_id)


def forget(warehouse: Warehouse, run_id: str) -> None:
    """Remove a run's checkpoints."""
    shutil.rmtree(folder(warehouse, run_id), ignore_errors=True)
