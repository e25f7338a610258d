"""Ray Data glue: planned reads of a pinned snapshot -> a Ray data set. Training and scoring read through it.

Image bytes travel; they are decoded last, where they are needed (`features/collate.py`, `training/pyfunc.py`).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from features.plan import Read
from features.reading import SAMPLE_COLUMNS, read_rows
from lakesight.snapshot import Unit


class PlannedReads(Datasource):
    """One read task a planned read, in order."""

    def __init__(self, units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str], masks: bool) -> None:
        """`reads` number the `units` of one snapshot."""
        super().__init__()  # type: ignore[no-untyped-call]  # ray's
        self._columns = columns
        self._masks = masks
        self._plan = [(units[read.unit], read) for read in reads]

    def estimate_inmemory_data_size(self) -> int:
        """Bytes, before decoding."""
        return sum(_num_bytes(unit, read) for unit, read in self._plan)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """The tasks; `parallelism` is not asked for more or fewer, since order and sizes are planned."""
        return [
            ReadTask(
                partial(_read, unit, read, self._columns, self._masks),
                _metadata(unit, read),
                per_task_row_limit=per_task_row_limit,
            )
            for unit, read in self._plan
        ]


def dataset(
    units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str] = SAMPLE_COLUMNS, *, masks: bool = False
) -> ray.data.Dataset:
    """`columns` and `epoch` of the planned rows, in the planned order; segmentations only with `masks`."""
    planned: ray.data.Dataset = ray.data.read_datasource(
        PlannedReads(units, reads, columns, masks), override_num_blocks=max(len(reads), 1)
    )
    return planned


def _read(unit: Unit, read: Read, columns: Sequence[str], masks: bool) -> Iterator[pa.Table]:
    yield read_rows(unit, read, columns, masks=masks)


def _num_bytes(unit: Unit, read: Read) -> int:
    return unit.num_bytes * len(read.rows) // max(unit.num_rows, 1)


def _metadata(unit: Unit, read: Read) -> BlockMetadata:
    return BlockMetadata(
        num_rows=len(read.rows), size_bytes=_num_bytes(unit, read), input_files=(unit.path,), exec_stats=None
    )
