"""Parquet glue: row groups of a table's file, through what is kept of it: its footer, its mapping, its rows' places."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakesight import pages
from lakesight.errors import TableError

FOOTERS, MAPPED = 64, 8
"""Files whose footer is kept, and that stay mapped: a shuffled epoch comes back to a file once a row group. Parsing is
slow, but a footer takes .1 MB and more; and to map a page again takes as long as to copy it. Of files of
`TARGET_FILE_BYTES` that is 2 GB at most of the system's cache, not memory of the process's own."""
INDEXED = 2**12
"""Row groups of which it is kept where each image lies: half a kilobyte each."""
File = tuple[str, int, int]
"""Path, size and time of change, in which a file that replaces another one differs."""


def opened(path: str) -> pq.ParquetFile:
    """The parquet file.

    Raises:
        TableError: it is gone.
    """
    with _there(path) as file:
        source = _mapped(file)
        mapped = path if source is None else pa.BufferReader(source)
        # Spark's old timestamps would overflow as nanoseconds.
        return pq.ParquetFile(mapped, metadata=_footer(file), coerce_int96_timestamp_unit="us")


def footer(path: str) -> pq.FileMetaData:
    """What the file says of itself, its row groups and their columns.

    Raises:
        TableError: it is gone.
    """
    with _there(path) as file:
        return _footer(file)


def read(path: str, groups: Sequence[int], columns: set[str]) -> pa.Table:
    """Those of the columns that the file has, in any order; byte strings of a single row group where they lie.

    Raises:
        TableError: the file is gone.
    """
    with _there(path) as file:
        lying = _lying(file, groups[0], columns) if len(groups) == 1 else {}
    if lying and len(lying) == len(columns):
        return pa.table(lying)
    with opened(path) as rest:
        table = rest.read_row_groups(groups, columns=sorted((columns - set(lying)) & set(rest.schema_arrow.names)))
    for name, column in lying.items():
        table = table.append_column(name, column)
    return table


def _lying(file: File, group: int, columns: set[str]) -> dict[str, pa.ChunkedArray]:
    """The columns that can be pointed to."""
    source = _mapped(file)
    if source is None:
        return {}
    found = {name: _places(file, group, name) for name in columns & set(_byte_strings(file))}
    return {name: pages.in_place(source.slice(*at[:2]), at[2]) for name, at in found.items() if at is not None}


def all_there(path: str, group: int, name: str) -> bool:
    """Whether a column of byte strings has no NULL, without a look at its rows; False as well where only they say it.

    Raises:
        TableError: the file is gone.
    """
    with _there(path) as file:
        stored = _stored(file, group, name) if name in _byte_strings(file) else None
        return stored is not None and pages.all_there(stored.data, stored.num_rows, nullable=stored.nullable)


@lru_cache(INDEXED)
def _places(file: File, group: int, name: str) -> tuple[int, int, pages.Places] | None:
    """First byte and size of a column's pages, and its rows in them."""
    stored = _stored(file, group, name)
    if stored is None:
        return None
    found = pages.places(stored.data, stored.num_rows, nullable=stored.nullable)
    return None if found is None else (stored.at, len(stored.data), found)


@dataclass(frozen=True)
class _Stored:
    """The plain pages of a column of byte strings, mapped, and where they begin in the file."""

    at: int
    data: memoryview
    num_rows: int
    nullable: bool


def _stored(file: File, group: int, name: str) -> _Stored | None:
    source, (number, nullable) = _mapped(file), _byte_strings(file)[name]
    chunk = _footer(file).row_group(group).column(number)
    if source is None or chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        return None
    at, size = chunk.data_page_offset, chunk.total_compressed_size
    return _Stored(at, memoryview(source).cast("B")[at : at + size], chunk.num_values, nullable)


@lru_cache(FOOTERS)
def _byte_strings(file: File) -> dict[str, tuple[int, bool]]:
    """Flat columns that are nothing but byte strings: their number, and whether they may be NULL."""
    schema = _footer(file).schema
    columns = enumerate(map(schema.column, range(len(schema))))
    return {
        column.path: (number, column.max_definition_level == 1)
        for number, column in columns
        if column.physical_type == "BYTE_ARRAY"
        and column.logical_type.type == column.converted_type == "NONE"
        and column.max_repetition_level == 0
        and column.path == column.name
    }


@contextmanager
def _there(path: str) -> Iterator[File]:
    try:
        status = Path(path).stat()
        yield path, status.st_size, status.st_mtime_ns
    except FileNotFoundError as error:
        raise TableError(
            "a file of the table is gone",
            where=path,
            expected="all files of the version that is read",
            fix="VACUUM has removed old versions: read a later one, and keep `delta.deletedFileRetentionDuration` "
            "longer than a run takes",
        ) from error


@lru_cache(FOOTERS)
def _footer(file: File) -> pq.FileMetaData:
    return pq.read_metadata(file[0])


@lru_cache(MAPPED)
def _mapped(file: File) -> pa.Buffer | None:
    """The file in memory, which spares a copy; None: its file system does not map (some FUSE mounts)."""
    try:
        return pa.memory_map(file[0]).read_buffer()
    except FileNotFoundError:
        raise
    except OSError:
        return None
