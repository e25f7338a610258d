"""SQL over tables and views, and its three output formats."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakesight import delta, sql
from lakesight.errors import UserError
from lakesight.tables import CATEGORIES
from lakesight.warehouse import create_warehouse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _category(dataset, category_id, name):
    row = dict.fromkeys(CATEGORIES.arrow.names)
    return row | {"dataset": dataset, "category_id": category_id, "name": name, "ingested_at": NOW, "run_id": "r"}


@pytest.fixture
def filled(warehouse):
    rows = pa.Table.from_pylist([_category("d", 1, "cat"), _category("d", 7, "dog")], schema=CATEGORIES.arrow)
    delta.commit(warehouse, "categories", rows, app_id="t", txn=1)
    return warehouse


def test_select_json(filled, spark):
    table = sql.query(filled, spark, "SELECT name, category_id FROM categories ORDER BY category_id")
    assert json.loads(sql.to_json(table)) == [{"name": "cat", "category_id": 1}, {"name": "dog", "category_id": 7}]


def test_time_travel_and_qualified_names(filled, spark):
    table = sql.query(filled, spark, "SELECT count(*) AS n FROM lakesight.categories VERSION AS OF 0")
    assert table.to_pylist() == [{"n": 0}]


def test_another_root_in_one_session(filled, spark, tmp_path):
    other = create_warehouse(tmp_path / "other")
    delta.create_tables(other)
    count = "SELECT count(*) AS n FROM categories"
    assert sql.query(filled, spark, count).to_pylist() == [{"n": 2}]
    assert sql.query(other, spark, count).to_pylist() == [{"n": 0}]
    assert sql.query(filled, spark, count).to_pylist() == [{"n": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT * FROM nope", "no table or view is called nope"),
        ("SELECT nope FROM categories", "Spark refuses"),
        ("SELEC 1", "not SQL"),
    ],
)
def test_wrong_statements(filled, spark, text, message):
    with pytest.raises(UserError, match=message):
        sql.query(filled, spark, text)


def test_formats_of_odd_values():
    table = pa.table(
        {
            "b": pa.array([b"\x00\x01"]),
            "f": pa.array([float("nan")]),
            "m": pa.array([[("k", "v")]], type=pa.map_(pa.string(), pa.string())),
            "l": pa.array([[1.5]]),
            "t": pa.array([NOW]),
            "n": pa.nulls(1),
        }
    )
    row = json.loads(sql.to_json(table))[0]
    assert row == {"b": "AAE=", "f": None, "m": {"k": "v"}, "l": [1.5], "t": "2026-01-01T00:00:00Z", "n": None}
    assert sql.to_csv(table).splitlines()[0] == "b,f,m,l,t,n"
    assert len(sql.to_grid(table).columns) == 6


def test_one_name_twice_is_refused_in_json():
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(UserError, match="two columns are called 'x'"):
        sql.to_json(table)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """All tables, and no row: another root than the last query's costs the session all names it knows."""
    made = create_warehouse(tmp_path_factory.mktemp("empty") / "root")
    delta.create_tables(made)
    return made


@pytest.mark.parametrize("view", sorted(sql.views()))
def test_views_run_on_empty_tables(empty, spark, view):
    assert sql.query(empty, spark, f"SELECT * FROM {view}").num_rows == 0


def test_optimize_keeps_the_layout_of_images(warehouse, spark):
    path = str(warehouse.path("images"))
    for turn in range(3):
        rows = spark.range(turn * 150, turn * 150 + 150)
        columns = ["'d' AS dataset", "id AS image_id", "unhex(repeat(hex(id), 50)) AS content", "'r' AS run_id"]
        rows.selectExpr(*columns).coalesce(1).write.format("delta").mode("append").save(path)
    sql.query(warehouse, spark, "OPTIMIZE images")
    units = delta.plan(warehouse, "images").units
    assert [unit.num_rows for unit in units] == [*[64] * 7, 2]
    footer = pq.read_metadata(units[0].path)
    content = footer.schema.names.index("content")
    column = footer.row_group(0).column(content)
    assert (column.compression, column.is_stats_set) == ("UNCOMPRESSED", False)
    assert "RLE_DICTIONARY" not in column.encodings
    assert units[0].read(["content"])["content"].num_chunks == 64, "its bytes can be pointed to"
