"""Staged image bytes (pyarrow): written where they are decoded, read back one row group at a time.

A part is a parquet file of (ordinal, content), named at random: a task that Spark runs again leaves an orphan that no
row names. Bytes so take no detour through the JVM.
"""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakesight.tables import BINARY, LONG

SCHEMA = pa.schema([("ordinal", LONG), ("content", BINARY)])
GROUP_ROWS = 100
GROUP_BYTES = 32 * 2**20
"""A row group is written at either."""


class PartWriter:
    """One part; the file is made with the first image."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where the parts of this run lie."""
        self.path = folder / f"part-{uuid.uuid4().hex}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[tuple[int, bytes]] = []
        self._size = 0

    def __enter__(self) -> "PartWriter":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is left, and the footer."""
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def add(self, ordinal: int, content: bytes) -> None:
        """Keep an image's bytes under its record's ordinal."""
        self._rows.append((ordinal, content))
        self._size += len(content)
        if len(self._rows) >= GROUP_ROWS or self._size >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            bare = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
            self._writer = pq.ParquetWriter(self.path, SCHEMA, **bare)
        ordinals, contents = zip(*self._rows, strict=True)
        self._writer.write_batch(pa.record_batch([pa.array(ordinals, LONG), pa.array(contents, BINARY)], schema=SCHEMA))
        self._rows, self._size = [], 0


def with_content(rows: pa.Table, parts: Sequence[str]) -> Iterator[pa.Table]:
    """`rows` (unique `ordinal`) with their bytes as column `content`, a table a row group of the parts.

    A row whose bytes are in no part comes last, with NULL.
    """
    ordinals = rows["ordinal"].to_numpy()
    # Once for all groups: `index_in` would build its table of all rows anew for each.
    places = np.full(ordinals.max(initial=0) + 1, -1)
    places[ordinals] = np.arange(len(ordinals))
    missing = np.ones(len(ordinals), dtype=bool)
    for part in parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                staged = file.read_row_group(group)
                there = staged["ordinal"].to_numpy()
                place = np.where(there < len(places), places[np.minimum(there, len(places) - 1)], -1)
                wanted = place >= 0
                missing[place[wanted]] = False
                yield rows.take(place[wanted]).append_column("content", staged["content"].filter(pa.array(wanted)))
    rest = rows.filter(pa.array(missing))
    yield rest.append_column("content", pa.nulls(rest.num_rows, BINARY))
