"""Which data sets a root holds, and the ones that are meant."""

from collections.abc import Collection, Mapping

import pyarrow.compute as pc

from lakesight import delta
from lakesight.errors import TableError
from lakesight.warehouse import Warehouse


def present(warehouse: Warehouse, versions: Mapping[str, int | None]) -> set[str]:
    """The data sets with a row in any of these tables at these versions; None: the latest."""
    there: set[str] = set()
    for table, version in versions.items():
        names = delta.read(warehouse, table, columns=["dataset"], version=version)["dataset"]
        there.update(pc.unique(names).to_pylist())
    return there


def chosen(warehouse: Warehouse, there: Collection[str], name: str | None) -> list[str]:
    """The data set of that name, or all of them, sorted.

    Raises:
        TableError: there is none, or none of that name.
    """
    if not there or (name is not None and name not in there):
        raise TableError(
            f"there is no data set {name!r}" if name is not None else "nothing has been ingested",
            where=str(warehouse.root),
            expected=f"one of {', '.join(sorted(there))}" if there else "at least one data set",
            fix="check --dataset" if there else "run `lakesight ingest` first",
        )
    return sorted(there) if name is None else [name]
