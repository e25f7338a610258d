"""Byte strings where they lie in a Parquet file: what Arrow's reader reads, or left to it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakesight import pages, parquet

PLAIN = {"compression": "none", "use_dictionary": False}
BYTES = st.lists(st.binary(max_size=40), min_size=1, max_size=60)


def write(path, values, *, nullable=True, **options):
    schema = pa.schema([pa.field("content", pa.binary(), nullable), ("number", pa.int32())])
    table = pa.Table.from_pydict({"content": values, "number": range(len(values))}, schema)
    pq.write_table(table, path, **options)
    return str(path)


def lies_in_the_file(column, path):
    """Whether the chunks are rows of the mapping, of which a column that was read has one a row group."""
    size = path.stat().st_size
    starts = {chunk.buffers()[2].address for chunk in column.chunks}
    return column.num_chunks == len(column) and len(starts) == 1 and column.chunk(0).buffers()[2].size < size


@given(
    values=BYTES,
    nullable=st.booleans(),
    page_size=st.integers(1, 500),
    batch=st.integers(1, 9),
    rows=st.integers(1, 80),
    statistics=st.booleans(),
)
@settings(deadline=None)
@example([b""], True, 1, 1, 1, True)
def test_plain_pages_are_pointed_to(tmp_path_factory, values, nullable, page_size, batch, rows, statistics):
    path = tmp_path_factory.mktemp("pages") / "a.parquet"
    options = {"data_page_size": page_size, "write_batch_size": batch, "row_group_size": rows}
    write(path, values, nullable=nullable, write_statistics=statistics, **options, **PLAIN)
    groups = range(pq.read_metadata(path).num_row_groups)
    read = [parquet.read(str(path), [group], {"content"})["content"] for group in groups]
    assert [value for column in read for value in column.to_pylist()] == values
    assert all(lies_in_the_file(column, path) for column in read)
    assert all(parquet.all_there(str(path), group, "content") for group in groups)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([b"a", None, b"c"] * 9, PLAIN),
        ([None] * 9, PLAIN),
        ([b"a", b"b"] * 9, {"compression": "none"}),
        ([b"a" * 99] * 9, {"compression": "snappy", "use_dictionary": False}),
        ([b"a"] * 9, {**PLAIN, "data_page_version": "2.0"}),
        ([b"a", b"ab"] * 9, {**PLAIN, "column_encoding": {"content": "DELTA_BYTE_ARRAY"}}),
    ],
    ids=["a NULL", "NULLs", "dictionary", "compressed", "version 2", "delta encoding"],
)
def test_what_is_stored_otherwise_is_read_by_arrow(tmp_path, values, options):
    path = write(tmp_path / "a.parquet", values, **options)
    table = parquet.read(path, [0], {"content", "number"})
    assert table["content"].to_pylist() == values
    assert table["content"].num_chunks <= 1
    assert not parquet.all_there(path, 0, "content")


def test_only_what_is_nothing_but_bytes(tmp_path):
    path = tmp_path / "a.parquet"
    rows = {"text": ["a", "b"], "nested": [{"content": b"a"}, None], "list": [[b"a"], []], "content": [b"a", b"b"]}
    pq.write_table(pa.table(rows), path, **PLAIN)
    table = parquet.read(str(path), [0], {*rows, "missing"})
    assert sorted(table.schema.names) == sorted(rows)
    assert table.select(list(rows)).to_pydict() == rows
    assert [table[name].num_chunks for name in rows] == [1, 1, 1, 2]


def test_rows_of_several_groups_come_at_once(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, [bytes([i]) for i in range(9)], row_group_size=4, **PLAIN)
    assert parquet.read(str(path), [0, 2], {"content"})["content"].to_pylist() == [b"\0", b"\1", b"\2", b"\3", b"\x08"]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nullable=st.booleans())
def test_damaged_pages_never_point_out_of_the_file(tmp_path_factory, seed, nullable):
    path = tmp_path_factory.mktemp("pages") / "a.parquet"
    write(path, [b"x" * n for n in range(30)], nullable=nullable, data_page_size=64, write_batch_size=3, **PLAIN)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    pieces = np.frombuffer(path.read_bytes(), np.uint8)[chunk.data_page_offset :][: chunk.total_compressed_size].copy()
    rng = np.random.default_rng(seed)
    pieces[rng.integers(0, len(pieces), rng.integers(1, 6))] = rng.integers(0, 256)
    where = pages.places(memoryview(pieces.tobytes()), 30, nullable=nullable)
    if where is not None:
        assert len(where) == 60
        assert (np.diff(where) >= 0).all()
        assert where[0] >= 0
        assert where[-1] <= len(pieces)
