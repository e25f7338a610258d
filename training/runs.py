"""delta-rs glue: `training_runs`, one row a run that ended."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import config as configuration
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import ConfigError
from lakesight.tables import TRAINING_RUNS, Table
from lakesight.warehouse import Warehouse
from training.inputs import Inputs

Row = dict[str, Any]


def fingerprint(dataset: str, versions: Mapping[str, int], config: Config, *sections: str) -> str:
    """Sha256 over all that decides a run: equal fingerprint, equal run."""
    resolved = configuration.to_dict(config)
    decides = [dataset, sorted(versions.items()), {section: resolved[section] for section in sections}]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def new(run_id: str, inputs: Inputs, config: Config, config_hash: str) -> Row:
    """The row of a run that starts now."""
    return {
        "run_id": run_id,
        "mlflow_run_id": None,
        "model_name": config.model.name,
        "dataset": inputs.dataset,
        "table_versions": inputs.versions,
        "config": stated(config),
        "config_hash": config_hash,
        "metrics": {},
        "model_uri": None,
        "error": None,
        "started_at": datetime.now(UTC),
    }


def stated(config: Config) -> str:
    """All of a configuration, as `training_runs.config` has it."""
    return json.dumps(configuration.to_dict(config))


def config(row: Row) -> Config:
    """What a run was configured by.

    Raises:
        ConfigError: another version of Lakesight wrote it, with other settings.
    """
    try:
        return configuration.load_dict(json.loads(row["config"]))
    except ValueError as error:  # msgspec's
        raise ConfigError(
            f"the configuration of {row['run_id']} is not one of this version of Lakesight: {error}",
            where="training_runs.config",
            fix="use the version that trained it",
        ) from error


def record(warehouse: Warehouse, row: Row) -> None:
    """Add a run that ended, in the place of what it ended as before it was resumed."""
    row = row | {"table_versions": list(row["table_versions"].items()), "metrics": list(row["metrics"].items())}
    put(warehouse, TRAINING_RUNS, row["run_id"], [row])


def put(warehouse: Warehouse, table: Table, run_id: str, rows: list[Row]) -> None:
    """Add the rows of a run, in the place of those that it has already."""
    data = pa.Table.from_pylist(rows, schema=table.arrow)
    txn = delta.last_txn(warehouse, table.name, run_id) + 1
    replacing = f"run_id = '{run_id}'" if txn > 1 else None
    delta.commit(warehouse, table.name, data, app_id=run_id, txn=txn, replacing=replacing)


def finished(warehouse: Warehouse, **equal: str) -> list[Row]:
    """Finished runs whose columns have these values, oldest first."""
    where = pc.field("status") == "finished"
    for column, value in equal.items():
        where = where & (pc.field(column) == value)
    rows: list[Row] = delta.read(warehouse, TRAINING_RUNS.name, where=where).to_pylist(maps_as_pydicts="strict")
    return sorted(rows, key=lambda row: row["ended_at"])
