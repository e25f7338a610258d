"""What is held of some keys is what a filter of all would leave, whatever the table's files."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ingestion.held import held, held_of
from ingestion.rows import Run, stamped
from lakesight import delta
from lakesight.tables import LONG, STRING, TABLES
from lakesight.warehouse import create_warehouse

COLUMNS = ["image_id", "sha256"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Two data sets with the same ids, in files of ascending, mixed and very large ones."""
    warehouse = create_warehouse(tmp_path_factory.mktemp("held"))
    delta.create_tables(warehouse)
    for dataset in ("a", "b"):
        for ids in (range(100), range(300, 0, -3), [2**53 + 1, 2**53 + 2, -(2**63)]):
            rows = [{"image_id": i, "sha256": f"{dataset}{i % 50}", "ordinal": i} for i in ids]
            table = pa.Table.from_pylist(rows, pa.schema([("image_id", LONG), ("sha256", STRING), ("ordinal", LONG)]))
            for column in TABLES["image_properties"].arrow:
                if column.name not in table.column_names:
                    table = table.append_column(column.name, pa.nulls(table.num_rows, column.type))
            table = stamped(table, "image_properties", Run(dataset, "run", datetime.now(UTC)))
            delta.append(delta.open_table(warehouse, "image_properties"), "image_properties", [table])
    return warehouse


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("image_id", [5, 99, 7000]),
        ("image_id", [None, 2**53 + 1, -(2**63), 2**63 - 1]),
        ("image_id", []),
        ("image_id", [None]),
        ("image_id", list(range(-9, 400))),
        ("sha256", ["a7", "a7", "b8", None]),
        ("sha256", []),
    ],
    ids=["some", "large", "none", "null", "all", "texts", "no texts"],
)
def test_the_rows_of_keys_are_those_that_a_filter_leaves(filled, key, values):
    wanted = pa.chunked_array([values[:1], values[1:]], LONG if key == "image_id" else STRING)
    found = held_of(filled, "a", "image_properties", COLUMNS, key, wanted)
    all_ = held(filled, "a", "image_properties", COLUMNS)
    expected = all_.filter(pc.is_in(all_[key], value_set=wanted.combine_chunks(), skip_nulls=True))
    assert (found.schema.names, found.to_pylist()) == (COLUMNS, expected.to_pylist())
    assert all_.num_rows == 203


def test_columns_may_be_without_the_key(filled):
    ids = pa.chunked_array([[5]], LONG)
    assert held_of(filled, "b", "image_properties", ["sha256"], "image_id", ids).to_pylist() == [{"sha256": "b5"}]
