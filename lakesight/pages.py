"""Byte strings of a Parquet column where they lie in a mapped file, not copied (pure).

A plain, uncompressed page is each row's length (4 bytes, little-endian) and its bytes, so a row of Arrow may point into
the file; Arrow's own reader copies a row group to give one row. What is stored in another way is its to read: there is
no place to point to in compressed pages and dictionaries, and version 2 pages, NULLs and what does not add up are left
to it as well.

Sources: parquet-format's `Encodings.md` and `parquet.thrift`; Thrift's compact protocol.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

TYPE, STORED_SIZE, DATA_PAGE_HEADER = 1, 3, 5
"""Fields of PageHeader."""
NUM_VALUES, ENCODING, LEVELS = 1, 2, 3
"""Fields of DataPageHeader."""
DATA_PAGE, PLAIN, RLE = 0, 0, 3
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
"""Types of the compact protocol that are found in a page's header."""
LENGTH = struct.Struct("<I")
Places = NDArray[np.int32]
"""[2 N]: first byte and last + 1 of each of N rows, counted from where the first page begins."""


class OddPage(Exception):
    """A page is not of the one kind that is read here."""


DAMAGED = (OddPage, AttributeError, IndexError, KeyError, OverflowError, TypeError, struct.error)
"""What a header that says anything at all leads to."""


def places(data: memoryview, num_rows: int, *, nullable: bool) -> Places | None:
    """Where the rows of a flat, uncompressed column of byte strings lie in its pages; None: stored in another way."""
    try:
        found = [place for page in _pages(data, num_rows, nullable) for place in _rows(data, *page)]
        return np.array(found, np.int32) if len(found) == 2 * num_rows else None
    except DAMAGED:
        return None


def all_there(data: memoryview, num_rows: int, *, nullable: bool) -> bool:
    """Whether no row of such a column is NULL, by its pages' levels; False, too, where it is stored in another way."""
    try:
        return sum(count for *_, count in _pages(data, num_rows, nullable)) == num_rows
    except DAMAGED:
        return False


def in_place(data: pa.Buffer, where: Places) -> pa.ChunkedArray:
    """[N] BINARY that points into these pages: a chunk of Arrow's a row, each of which may so lie anywhere."""
    # What lies between two rows, at least a length, is a value of the whole as well: every other one is a row.
    values = max(len(where) - 1, 0)
    whole = pa.Array.from_buffers(pa.binary(), values, [None, pa.py_buffer(where), data], null_count=0)
    return pa.chunked_array([whole.slice(place, 1) for place in range(0, values, 2)], pa.binary())


def _pages(data: memoryview, num_rows: int, nullable: bool) -> Iterator[tuple[int, int, int]]:
    """First byte and last + 1 of the values of each page, and their number."""
    end = 0
    while num_rows > 0:
        header, start = _struct(data, end)
        page = header.get(DATA_PAGE_HEADER, {})
        if header[TYPE] != DATA_PAGE or page.get(ENCODING) != PLAIN or page[NUM_VALUES] < 1:
            raise OddPage
        end = start + header[STORED_SIZE]
        if end > len(data):
            raise OddPage
        yield _behind_levels(data, start, page) if nullable else start, end, page[NUM_VALUES]
        num_rows -= page[NUM_VALUES]


def _rows(data: memoryview, at: int, end: int, num_rows: int) -> Iterator[int]:
    for _ in range(num_rows):
        start = at + LENGTH.size
        at = start + LENGTH.unpack_from(data, at)[0]
        yield start
        yield at
    if at != end:
        raise OddPage


def _behind_levels(data: memoryview, at: int, page: dict[int, Any]) -> int:
    """Where the values of an optional column begin: behind a run length encoding of one bit a row, all of them 1."""
    if page[LEVELS] != RLE:
        raise OddPage
    left: int = page[NUM_VALUES]
    size: int = LENGTH.unpack_from(data, at)[0]
    at += LENGTH.size
    end = at + size
    while left > 0:
        run, at = _varint(data, at)
        packed, count = run & 1, run >> 1
        bits = int.from_bytes(data[at : at + (count if packed else 1)], "little")
        wanted = (1 << min(8 * count, left)) - 1 if packed else 1
        if bits & wanted != wanted:
            raise OddPage
        at += count if packed else 1
        left -= 8 * count if packed else count
    return end


def _struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A struct by the numbers of its fields, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15)
    return fields, at + 1


def _value(data: memoryview, at: int, type_: int) -> tuple[Any, int]:
    """A value and where it ends; None for those of statistics."""
    if type_ in (TRUE, FALSE):
        return type_ == TRUE, at
    if type_ in (I16, I32, I64):
        return _zigzag(data, at)
    if type_ == STRUCT:
        return _struct(data, at)
    if type_ == BINARY:
        size, at = _varint(data, at)
        return None, at + size
    if type_ in (BYTE, DOUBLE):
        return None, at + (1 if type_ == BYTE else 8)
    raise OddPage


def _zigzag(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
    return value | byte << shift, at + 1
