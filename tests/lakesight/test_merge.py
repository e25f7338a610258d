"""MERGE of Arrow rows by key; rows that are all new are appended, whatever else the table holds."""

import pyarrow as pa
import pytest

from lakesight import delta
from lakesight.merge import Change, merge_arrow
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse, create_warehouse


@pytest.fixture
def held(tmp_path) -> Warehouse:
    """`categories` of two data sets, in a row group each."""
    warehouse = create_warehouse(tmp_path)
    delta.create_tables(warehouse)
    assert merge(warehouse, ("a", 1, "cat"), ("a", 3, "cow")) == Change(added=2)
    assert merge(warehouse, ("b", 2, "dog")) == Change(added=1)
    return warehouse


def merge(warehouse: Warehouse, *rows: tuple[str, int, str]) -> Change:
    records = [{"dataset": d, "category_id": i, "name": name, "label": 0, "run_id": "r"} for d, i, name in rows]
    stated = pa.Table.from_pylist(records, TABLES["categories"].arrow)
    return merge_arrow(warehouse, "categories", stated, compare=["name"])


def names(warehouse: Warehouse) -> dict[tuple[str, int], str]:
    rows = delta.read(warehouse, "categories", columns=["dataset", "category_id", "name"]).to_pylist()
    return {(row["dataset"], row["category_id"]): row["name"] for row in rows}


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        ([("a", 4, "hen")], Change(added=1)),
        ([("a", 2, "hen"), ("b", 3, "fox")], Change(added=2)),  # each value of the keys is there, no whole key
        ([("a", 3, "hen")], Change(updated=1)),
        ([("b", 2, "dog")], Change()),
        ([("a", 1, "hen"), ("b", 2, "dog"), ("b", 1, "fox")], Change(added=1, updated=1)),
    ],
    ids=["new", "new, of known parts", "changed", "same", "of each"],
)
def test_rows_are_added_or_updated_by_their_whole_key(held, rows, change):
    before = names(held)
    assert merge(held, *rows) == change
    assert names(held) == before | {row[:2]: row[2] for row in rows}


def test_new_rows_leave_the_files_of_the_table_alone(held):
    before = set(delta.open_table(held, "categories").file_uris())
    merge(held, ("a", 2, "hen"))
    assert before < set(delta.open_table(held, "categories").file_uris())


@pytest.mark.parametrize("again", [False, True], ids=["appended", "merged"])
def test_row_groups_are_of_a_bounded_size(held, monkeypatch, again):
    monkeypatch.setattr(delta, "NARROW_ROWS_PER_GROUP", 1024)  # a writer rounds to batches of it
    rows = [("c", i, "owl") for i in range(3000)]
    if again:
        merge(held, *rows)
        rows = [(dataset, i, "emu") for dataset, i, _ in rows]
    merge(held, *rows)
    units = [unit.num_rows for unit in delta.plan(held, "categories").units]
    assert max(units) == 1024, units
