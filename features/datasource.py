"""Ray Data glue: planned reads of a pinned snapshot -> a Ray data set. Training and scoring read through it.

Image bytes travel; they are decoded last, where they are needed (`features/collate.py`, `training/pyfunc.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import Datasource, ReadTask
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data.block import BlockMetadata

from features.plan import Read
from features.reading import SAMPLE_COLUMNS, read_rows
from lakesight.snapshot import Unit

TASK_BYTES = 32 * 2**20
"""Reads go together into tasks of so much: a task costs Ray as many CPU milliseconds as decoding 20 images."""
LIMITS_S = 0.1
"""How often Ray Data looks what it may use; its own second is spent in a loop that does not wait (2.60), with one task
at a time: at its start, and so at that of every validation, it takes the cluster for empty."""
Planned = tuple[Unit, Read]


class LookOften(ExecutionCallback):
    """Sets `LIMITS_S` for one data set; Ray has no setting for it."""

    def before_execution_starts(self, executor: Any) -> None:
        """Of this executor alone: data sets of others keep Ray's interval, which is a class attribute."""
        executor._resource_manager.GLOBAL_LIMITS_UPDATE_INTERVAL_S = LIMITS_S


class PlannedReads(Datasource):
    """Planned reads as read tasks, in order."""

    def __init__(self, units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str], masks: bool) -> None:
        """`reads` number the `units` of one snapshot."""
        super().__init__()  # type: ignore[no-untyped-call]  # ray's
        self._columns = columns
        self._masks = masks
        self.tasks = list(_tasks((units[read.unit], read) for read in reads))

    def estimate_inmemory_data_size(self) -> int:
        """Bytes, before decoding."""
        return sum(map(_num_bytes, self.tasks))

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """The tasks; `parallelism` is not asked for more or fewer, since order and sizes are planned."""
        return [
            ReadTask(
                partial(_read, task, self._columns, self._masks), _metadata(task), per_task_row_limit=per_task_row_limit
            )
            for task in self.tasks
        ]


def dataset(
    units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str] = SAMPLE_COLUMNS, *, masks: bool = False
) -> ray.data.Dataset:
    """`columns` and `epoch` of the planned rows, in the planned order; segmentations only with `masks`."""
    source = PlannedReads(units, reads, columns, masks)
    planned: ray.data.Dataset = ray.data.read_datasource(source, override_num_blocks=max(len(source.tasks), 1))
    planned.context.custom_execution_callback_classes.append(LookOften)  # the context is the data set's own copy
    return planned


def _tasks(plan: Iterable[Planned]) -> Iterator[list[Planned]]:
    task: list[Planned] = []
    for planned in plan:
        if task and _num_bytes([*task, planned]) > TASK_BYTES:
            yield task
            task = []
        task.append(planned)
    if task:
        yield task


def _read(task: Sequence[Planned], columns: Sequence[str], masks: bool) -> Iterator[pa.Table]:
    for unit, read in task:
        # Rows of a shuffle are chunks of their own, each of which Ray would serialise by itself.
        yield read_rows(unit, read, columns, masks=masks).combine_chunks()


def _num_bytes(task: Iterable[Planned]) -> int:
    return sum(unit.num_bytes * len(read.rows) // max(unit.num_rows, 1) for unit, read in task)


def _metadata(task: Sequence[Planned]) -> BlockMetadata:
    return BlockMetadata(
        num_rows=sum(len(read.rows) for _, read in task),
        size_bytes=_num_bytes(task),
        input_files=tuple({unit.path: None for unit, _ in task}),
        exec_stats=None,
    )
