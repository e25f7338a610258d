"""Delta glue (delta-rs): which rows no check by the same rules has seen: those of runs that came since."""

from collections.abc import Collection, Mapping

import pyarrow.compute as pc

from lakesight import delta
from lakesight.errors import TableError
from lakesight.tables import QUALITY_RESULTS
from lakesight.warehouse import Warehouse


def unseen_runs(
    warehouse: Warehouse, rules_hash: str, datasets: Collection[str], versions: Mapping[str, int]
) -> dict[str, set[str] | None]:
    """By table, the `run_id`s whose rows are new since the last check of these data sets; None: all are.

    Runs, not times: a run that commits late has early timestamps.
    """
    before = _last_versions(warehouse, rules_hash, datasets)
    found: dict[str, set[str] | None] = {}
    for name, version in versions.items():
        then = _runs(warehouse, name, before[name]) if name in before else None
        now = _runs(warehouse, name, version) or set()
        found[name] = None if then is None else now - then
    return found


def _last_versions(warehouse: Warehouse, rules_hash: str, datasets: Collection[str]) -> dict[str, int]:
    """Of each table the version that the last check of every one of the data sets has seen."""
    columns = ["dataset", "table_name", "table_version"]
    where = (pc.field("rules_hash") == rules_hash) & pc.field("dataset").isin(list(datasets))
    rows = delta.read(warehouse, QUALITY_RESULTS.name, columns=columns, where=where)
    latest = rows.group_by(["dataset", "table_name"]).aggregate([("table_version", "max")]).to_pylist()
    versions: dict[str, list[int]] = {}
    for row in latest:
        versions.setdefault(row["table_name"], []).append(row["table_version_max"])
    return {name: min(some) for name, some in versions.items() if len(some) == len(datasets)}


def _runs(warehouse: Warehouse, name: str, version: int) -> set[str] | None:
    try:
        runs = delta.read(warehouse, name, columns=["run_id"], version=version)["run_id"]
    except (TableError, OSError):  # VACUUM has taken the files of an old version, or log clean-up its log
        return None
    return set(pc.unique(runs).to_pylist())
