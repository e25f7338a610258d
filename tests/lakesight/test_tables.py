"""The contract itself: keys exist, documentation is generated, DDL covers every type."""

from pathlib import Path

import pytest

from lakesight import tables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=lambda table: table.name)
def test_contract_is_whole(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert table.bytes_column is None or table.bytes_column in names
    assert table.ddl.count("`") % 2 == 0
    assert any(column.type == tables.TIME or column.type == tables.WINDOW for column in table.columns)


def test_docs_are_generated():
    assert (ROOT / "docs" / "tables.md").read_text() == tables.markdown() + "\n"
