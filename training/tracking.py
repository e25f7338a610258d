"""MLflow glue: where runs, curves and models are kept, and what a run records besides its curves."""

import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakesight import config as configuration
from lakesight.config import Config
from lakesight.logs import quiet_libraries
from lakesight.sections import ModelConfig
from lakesight.warehouse import Warehouse
from training.inputs import Inputs

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from numpy.typing import NDArray

EXPERIMENT = "lakesight"
_RUN_ID = "lakesight.run_id"
_CONFIG_HASH = "lakesight.config_hash"
_KEPT = "networks"
WITH = "lakesight.with."
REQUIREMENTS = (
    "hotcoco", "mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "safetensors", "scipy", "simplejpeg",
    "torch", "transformers",
)  # fmt: skip
"""What `training/pyfunc.py` imports, and what that needs."""


def tracking_uri(warehouse: Warehouse) -> str:
    """`MLFLOW_TRACKING_URI` if it is set, else a SQLite file under the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{warehouse.state('mlflow.db')}"


def connect(warehouse: Warehouse) -> "MlflowClient":
    """Point this process' MLflow at the warehouse's store; makes the store and the experiment if need be."""
    quiet_libraries()
    import mlflow

    uri = tracking_uri(warehouse)
    _point_to(uri)
    client = mlflow.MlflowClient(uri)
    if client.get_experiment_by_name(EXPERIMENT) is None:
        local = uri.startswith("sqlite:")
        client.create_experiment(EXPERIMENT, warehouse.state("mlartifacts").as_uri() if local else None)
    return client


def _point_to(uri: str) -> None:
    """MLflow writes what it is told into `MLFLOW_TRACKING_URI`: to the next warehouse it would look like the user's."""
    import mlflow

    users = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if users is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@contextmanager
def run(
    client: "MlflowClient", run_id: str, inputs: Inputs, config: Config, *, config_hash: str, mlflow_run_id: str | None
) -> Iterator[str]:
    """An MLflow run with parameters, tags and the data set's version; it ends as the block does.

    `mlflow_run_id`: of an interrupted run that goes on. An interruption leaves KILLED (or, where nobody could say so,
    RUNNING), an error FAILED.
    """
    started = mlflow_run_id or _start(client, run_id, inputs, config, config_hash)
    client.update_run(started, "RUNNING")
    try:
        yield started
    except Exception:
        client.set_terminated(started, "FAILED")
        raise
    except BaseException:
        client.set_terminated(started, "KILLED")
        raise
    client.set_terminated(started, "FINISHED")


def _start(client: "MlflowClient", run_id: str, inputs: Inputs, config: Config, config_hash: str) -> str:
    versions = {f"lakesight.{table}_version": str(number) for table, number in inputs.versions.items()}
    names = {_RUN_ID: run_id, _CONFIG_HASH: config_hash, "lakesight.dataset": inputs.dataset}
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None  # `connect` makes it
    tags = names | versions | surroundings()
    started = str(client.create_run(experiment.experiment_id, run_name=run_id, tags=tags).info.run_id)
    _log_inputs(client, started, inputs)
    for key, value in _flat(configuration.to_dict(config), ""):
        client.log_param(started, key, value)
    return started


def surroundings() -> dict[str, str]:
    """Tags of what may change a run's numbers and is in no configuration: packages, processor."""
    packages = {f"{WITH}{name}": version(name) for name in ("lightning", "numpy", "torch", "transformers")}
    return packages | {f"{WITH}machine": platform.machine(), f"{WITH}cores": str(os.cpu_count())}


def runs_of(client: "MlflowClient", config_hash: str) -> list[tuple[str, str]]:
    """Our run id and MLflow's of every run with this hash, the latest first."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None  # `connect` makes it
    found = client.search_runs([experiment.experiment_id], f"tags.`{_CONFIG_HASH}` = '{config_hash}'")
    return [(run.data.tags[_RUN_ID], str(run.info.run_id)) for run in found]


def log_picture(uri: str, mlflow_run_id: str, picture: "NDArray[np.uint8]", path: str) -> None:
    """[H, W, 3] RGB as an artifact `path` of a run."""
    import mlflow

    mlflow.MlflowClient(uri).log_image(mlflow_run_id, picture, path)


def keep_network(uri: str, mlflow_run_id: str, folder: Path, step: int) -> None:
    """An exported network as artifacts of a run, for good."""
    import mlflow

    mlflow.MlflowClient(uri).log_artifacts(mlflow_run_id, str(folder), f"{_KEPT}/{step}")


def kept_steps(client: "MlflowClient", mlflow_run_id: str) -> list[int]:
    """Steps of which a run has a network."""
    return sorted(int(Path(found.path).name) for found in client.list_artifacts(mlflow_run_id, _KEPT))


@contextmanager
def kept_network(client: "MlflowClient", mlflow_run_id: str, step: int) -> Iterator[Path]:
    """The folder of a network that was kept; it is gone after the block."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(client.download_artifacts(mlflow_run_id, f"{_KEPT}/{step}", place))


def key(name: str) -> str:
    """A class's name as a part of a metric's, in which MLflow allows no more than these characters."""
    return re.sub(r"[^\w\-. ]", "_", name)


def _log_inputs(client: "MlflowClient", mlflow_run_id: str, inputs: Inputs) -> None:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    unit = next(iter(inputs.train.units))
    number = inputs.versions["samples"]
    source = DeltaDatasetSource(path=str(Path(unit.path).parent), delta_table_version=number)
    # MLflow drops version 0 from the source: the digest, and the run's tags, have it always.
    seen = Dataset(inputs.dataset, f"samples@v{number}", "delta_table", source.to_json())
    client.log_inputs(mlflow_run_id, [DatasetInput(seen, [InputTag("mlflow.data.context", "training")])])


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def log_model(mlflow_run_id: str, folder: Path, config: ModelConfig, *, name: str = "model") -> str:
    """Log an exported network as a pyfunc of the run: code, safetensors, signature; its MLflow URI."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    text, number, whole = "string", "double", "long"
    signature = ModelSignature(
        Schema([ColSpec("binary", "image")]),
        Schema(
            [
                ColSpec(Array(Array(number)), "boxes"),
                ColSpec(Array(text), "masks"),
                ColSpec(Array(number), "scores"),
                ColSpec(Array(whole), "labels"),
                ColSpec(Array(whole), "category_ids"),
                ColSpec(Array(text), "category_names"),
                ColSpec(text, "error", required=False),
            ]
        ),
        ParamSchema([ParamSpec(name, number, getattr(config, name)) for name in ("score_threshold", "nms_iou")]),
    )
    with mlflow.start_run(run_id=mlflow_run_id):
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"model": str(folder)},
            signature=signature,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )
    return str(logged.model_uri)
