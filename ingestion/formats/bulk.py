"""Many small annotation files -> two Arrow tables of records, in Spark tasks where there are many (no engine)."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import pyarrow as pa

from ingestion.tasks import InTasks
from lakesight.tables import BINARY, LONG

MANY = 20_000
"""From so many files on tasks pay: this process reads fewer before Spark has started (0.2 ms of CPU a file)."""
CHUNK = 500

T = TypeVar("T")
Part = tuple[pa.Table, pa.Table]
"""Image records and annotation records of some files."""
CHUNKS = pa.schema([("place", LONG), ("files", BINARY)])
PARTS = pa.schema([("place", LONG), ("images", BINARY), ("annotations", BINARY)])
"""A `Part` each, as Arrow streams."""


def read_all(read: Callable[[Sequence[T]], Part], files: Sequence[T], in_tasks: InTasks | None) -> Part:
    """`read` of all files, in their order; it and they are pickled, where there are many.

    `ordinal` counts through both tables, each by itself. Without `in_tasks` they are read here, however many.
    """
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)] or [[]]
    if in_tasks is None or len(files) < MANY:
        parts = [read(chunk) for chunk in chunks]
    else:
        rows = pa.table([range(len(chunks)), [pickle.dumps(chunk) for chunk in chunks]], schema=CHUNKS)
        done = in_tasks(rows, partial(_read_batches, read), PARTS).sort_by("place")
        parts = [(_table(row["images"]), _table(row["annotations"])) for row in done.to_pylist()]
    images, annotations = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    return numbered(images), numbered(annotations)


def numbered(records: pa.Table) -> pa.Table:
    """Records with `ordinal` as their place."""
    place = records.schema.get_field_index("ordinal")
    return records.set_column(place, "ordinal", pa.array(range(records.num_rows), LONG))


def _read_batches(read: Callable[[Sequence[T]], Part], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`CHUNKS` -> `PARTS`."""
    for batch in batches:
        for row in batch.to_pylist():
            images, annotations = read(pickle.loads(row["files"]))
            part = {"place": row["place"], "images": _stream(images), "annotations": _stream(annotations)}
            yield pa.RecordBatch.from_pylist([part], schema=PARTS)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _table(stream: bytes) -> pa.Table:
    return pa.ipc.open_stream(stream).read_all()
