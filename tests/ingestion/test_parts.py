"""Staged bytes: every row finds its own, whatever was written in which part."""

import pyarrow as pa
import pytest

from ingestion.parts import GROUP_ROWS, PartWriter, with_content


def write(folder, ordinals):
    with PartWriter(folder) as part:
        for ordinal in ordinals:
            part.add(ordinal, f"bytes of {ordinal}".encode())
    return str(part.path)


@pytest.mark.parametrize("counts", [(1,), (GROUP_ROWS,), (GROUP_ROWS + 1, 3), (250, 0, 1)])
def test_rows_get_their_bytes(tmp_path, counts):
    starts = [sum(counts[:place]) for place in range(len(counts))]
    parts = [write(tmp_path, range(s, s + n)) for s, n in zip(starts, counts, strict=True) if n]
    wanted = [ordinal for ordinal in range(sum(counts)) if ordinal % 3 != 1]
    rows = pa.table({"ordinal": wanted[::-1], "name": [str(ordinal) for ordinal in wanted[::-1]]})
    got = pa.concat_tables(with_content(rows, parts)).to_pylist()
    assert sorted(row["ordinal"] for row in got) == wanted
    for row in got:
        assert row["content"] == f"bytes of {row['name']}".encode()


def test_a_row_without_bytes_is_kept(tmp_path):
    part = write(tmp_path, [0, 2])
    got = pa.concat_tables(with_content(pa.table({"ordinal": [0, 1, 2]}), [part])).to_pylist()
    assert [(row["ordinal"], row["content"] is None) for row in got] == [(0, False), (2, False), (1, True)]


def test_no_parts_at_all():
    assert pa.concat_tables(with_content(pa.table({"ordinal": [7]}), [])).to_pylist() == [
        {"ordinal": 7, "content": None}
    ]


def test_a_part_without_images_is_no_file(tmp_path):
    with PartWriter(tmp_path / "content") as part:
        pass
    assert not part.path.exists()
