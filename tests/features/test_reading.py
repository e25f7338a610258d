"""The rows of a read: in its order, image bytes where they lie."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.plan import Read
from features.reading import encoded, read_rows
from features.snapshot import read_splits
from lakesight import delta
from lakesight.decode import decode
from lakesight.parquet import opened


@pytest.fixture(scope="module")
def warehouse(shapes_warehouse):
    return shapes_warehouse()


def test_rows_come_in_the_order_of_the_read(warehouse):
    (split, *_) = read_splits(warehouse, "shapes", ["train"])
    rows = np.random.default_rng(0).permutation(split.rows[0])
    table = read_rows(split.units[0], Read(0, rows, 7))
    stored = {row["image_id"]: row for row in delta.read(warehouse, "samples").to_pylist()}
    lying = split.units[0].read(["image_id"])["image_id"].to_numpy()
    assert table["image_id"].to_pylist() == lying[rows].tolist()
    for row in table.to_pylist():
        assert (row["content"], row["width"]) == (stored[row["image_id"]]["content"], stored[row["image_id"]]["width"])
        assert row["epoch"] == 7


def test_only_the_columns_asked_for(warehouse):
    (split, *_) = read_splits(warehouse, "shapes", ["train"])
    table = read_rows(split.units[0], Read(0, split.rows[0][:2], 0), ["content"])
    assert table.schema.names == ["content", "epoch"]


def test_bytes_are_not_copied_and_can_be_decoded(warehouse):
    (split, *_) = read_splits(warehouse, "shapes", ["train"])
    content = split.units[0].read(["content"])["content"]
    start, size = content.chunk(0).buffers()[2].address, content.chunk(0).buffers()[2].size
    for view, copy in zip(encoded(content), content.to_pylist(), strict=True):
        assert bytes(view) == copy
        assert start <= np.frombuffer(view, np.uint8).ctypes.data < start + size
        np.testing.assert_array_equal(decode(view), decode(copy))


def test_an_image_without_bytes_has_none():
    content = pa.array([None, b"x", b"", b"yz", None], pa.binary())
    assert encoded(content) == [None, b"x", b"", b"yz", None]
    assert encoded(content.slice(1, 3)) == [b"x", b"", b"yz"]
    assert encoded(pa.chunked_array([content[3:], content[:0], content[:2]])) == [b"yz", None, None, b"x"]
    assert encoded(pa.array([None, None], pa.binary())) == [None, None]


def test_a_file_in_the_place_of_another_is_read_by_its_own_footer(tmp_path):
    path = tmp_path / "a.parquet"
    for values in ([1, 2, 3], [4]):
        pq.write_table(pa.table({"x": values}), path)
        with opened(str(path)) as file:
            assert file.read()["x"].to_pylist() == values
