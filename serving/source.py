"""Ray glue: pending images of a pinned snapshot -> a Ray data set of (image_id, content)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from serving.pending import PendingUnit


class PendingImages(Datasource):
    """One read task a row group."""

    def __init__(self, units: Sequence[PendingUnit]) -> None:
        """Only the wanted rows of `units` are handed on."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has no annotations here
        self._units = units

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the wanted rows."""
        return sum(unit.num_bytes for unit in self._units)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """The tasks; a row group is never cut, whatever `parallelism` asks for."""
        return [
            ReadTask(partial(_read, unit), _metadata(unit), per_task_row_limit=per_task_row_limit)
            for unit in self._units
        ]


def _read(unit: PendingUnit) -> Iterator[pa.Table]:
    yield unit.read(["image_id", "content"])


def _metadata(unit: PendingUnit) -> BlockMetadata:
    return BlockMetadata(
        num_rows=unit.num_rows, size_bytes=unit.num_bytes, input_files=(unit.unit.path,), exec_stats=None
    )
