"""delta-rs glue: the rows of one data set and split in a pinned version of `samples`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from features.plan import Rows
from lakesight import delta
from lakesight.snapshot import Unit
from lakesight.warehouse import Warehouse


@dataclass(frozen=True)
class Split:
    """The rows of a split, unit by unit; image bytes are not read yet."""

    version: int
    units: tuple[Unit, ...]
    rows: tuple[Rows, ...]
    """Of each unit: the row numbers that belong to the split."""
    num_boxes: tuple[int, ...]
    """Of each row, in order: annotations, crowd included."""

    @property
    def num_rows(self) -> int:
        """Images in the split."""
        return sum(len(rows) for rows in self.rows)


def read_splits(warehouse: Warehouse, dataset: str, names: Sequence[str], version: int | None = None) -> list[Split]:
    """The named splits of a data set; a split without rows is a `Split` without rows.

    Raises:
        TableError: `samples` is not there or has no such version.
    """
    snapshot = delta.plan(warehouse, "samples", version)
    keys = [unit.read(["dataset", "split", "num_annotations"]) for unit in snapshot.units]
    splits = []
    for name in names:
        rows: list[Rows] = []
        boxes: list[int] = []
        for table in keys:
            wanted = pc.and_(pc.equal(table["dataset"], dataset), pc.equal(table["split"], name))
            rows.append(np.flatnonzero(wanted.fill_null(False).to_numpy()).astype(np.int64))
            boxes += table["num_annotations"].take(rows[-1]).to_pylist()
        splits.append(Split(snapshot.version, snapshot.units, tuple(rows), tuple(boxes)))
    return splits
