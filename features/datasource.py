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
from features.reference import NEEDED, filled
from lakesight.delta import Unit
from lakesight.errors import TableError

SAMPLE_COLUMNS = ("image_id", "content", "width", "height", "annotations")
_ANNOTATION_FIELDS = ("annotation_id", "category_id", "label", "bbox", "area", "iscrowd")
"""Not the segmentation: it would be most of what travels."""


class PlannedReads(Datasource):
    """One read task a planned read, in order."""

    def __init__(self, units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str]) -> None:
        """`reads` number the `units` of one snapshot."""
        super().__init__()  # type: ignore[no-untyped-call]  # ray's
        self._columns = columns
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
                partial(_read, unit, read, self._columns), _metadata(unit, read), per_task_row_limit=per_task_row_limit
            )
            for unit, read in self._plan
        ]


def dataset(units: Sequence[Unit], reads: Sequence[Read], columns: Sequence[str] = SAMPLE_COLUMNS) -> ray.data.Dataset:
    """`columns` and `epoch` of the planned rows, in the planned order; of annotations all but the segmentation."""
    planned: ray.data.Dataset = ray.data.read_datasource(
        PlannedReads(units, reads, columns), override_num_blocks=max(len(reads), 1)
    )
    return planned


def _read(unit: Unit, read: Read, columns: Sequence[str]) -> Iterator[pa.Table]:
    extra = [name for name in NEEDED if name not in columns] if "content" in columns else []
    try:
        table = unit.read([*columns, *extra]).take(read.rows)
    except FileNotFoundError as error:
        raise TableError(
            "a file of `samples` was removed while it was read",
            where=unit.path,
            expected="every file of the version that the run pinned",
            fix="keep files longer than runs take (delta.deletedFileRetentionDuration), then run again",
        ) from error
    if "content" in columns:
        table = filled(table).drop_columns(extra)
    if "annotations" in columns:
        place = table.schema.get_field_index("annotations")
        table = table.set_column(place, "annotations", _slim(table["annotations"]))
    yield table.append_column("epoch", pa.array([read.epoch] * len(read.rows), pa.int64()))


def _slim(annotations: pa.ChunkedArray) -> pa.Array:
    """list<struct> with only the fields that training and validation look at; NULL becomes an empty list."""
    array = annotations.combine_chunks()
    fields = [array.values.field(name) for name in _ANNOTATION_FIELDS]
    return pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays(fields, _ANNOTATION_FIELDS))


def _num_bytes(unit: Unit, read: Read) -> int:
    return unit.num_bytes * len(read.rows) // max(unit.num_rows, 1)


def _metadata(unit: Unit, read: Read) -> BlockMetadata:
    return BlockMetadata(
        num_rows=len(read.rows), size_bytes=_num_bytes(unit, read), input_files=(unit.path,), exec_stats=None
    )
