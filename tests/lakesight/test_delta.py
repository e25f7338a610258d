"""Delta without a JVM: exactly-once commits, pinned snapshots, refused features, layout."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from lakesight import delta
from lakesight.errors import SetupError, TableError
from lakesight.merge import merge_arrow
from lakesight.tables import CATEGORIES, IMAGES, TABLES
from lakesight.warehouse import Warehouse, create_warehouse, open_warehouse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _rows(table, *partial):
    rows = [dict.fromkeys(table.arrow.names) | {"dataset": "d", "run_id": "r"} | row for row in partial]
    return pa.Table.from_pylist(rows, schema=table.arrow)


def _images(first, count):
    content = os.urandom(2000)
    return _rows(IMAGES, *({"image_id": i, "content": content} for i in range(first, first + count)))


@pytest.mark.parametrize("name", ["a[1]", "a{b}", "a*", "a?b", "a\\b", "a\nb", "a%20b"])
def test_a_root_that_engines_would_misread_is_refused(tmp_path, name):
    with pytest.raises(SetupError, match="takes for something else"):
        create_warehouse(tmp_path / name)
    (tmp_path / name / "warehouse").mkdir(parents=True)
    with pytest.raises(SetupError, match="takes for something else"):
        open_warehouse(tmp_path / name)


@pytest.mark.parametrize("name", ["100% é😀 a'b\"c#", "a:b=b,c;d+e"])
def test_an_odd_root_is_as_good_as_any(tmp_path, name):
    made = create_warehouse(tmp_path / name)
    delta.create_tables(made)
    row = {column.name: None for column in TABLES["sources"].columns} | {
        "dataset": "d",
        "source_uri": "a",
        "run_id": "r",
    }
    delta.append(delta.open_table(made, "sources"), "sources", [pa.Table.from_pylist([row], TABLES["sources"].arrow)])
    assert delta.read(made, "sources")["source_uri"].to_pylist() == ["a"]


def test_commit_twice_is_once(warehouse):
    rows = _rows(CATEGORIES, {"category_id": 1})
    assert delta.commit(warehouse, "categories", rows, app_id="a", txn=1)
    assert not delta.commit(warehouse, "categories", rows, app_id="a", txn=1)
    assert delta.commit(warehouse, "categories", rows, app_id="a", txn=2)
    assert delta.last_txn(warehouse, "categories", "a") == 2
    assert delta.last_txn(warehouse, "categories", "b") == 0
    assert delta.read(warehouse, "categories").num_rows == 2


def test_appended_bytes_are_committed_as_they_come(warehouse, monkeypatch):
    rows = [_images(first, 10) for first in range(0, 60, 10)]
    monkeypatch.setattr(delta, "COMMIT_BYTES", int(2.5 * rows[0].nbytes))
    landed = []

    def coming():
        for some in [rows[0].slice(0, 0), *rows]:
            yield some
            landed.append(delta.count(warehouse, "images"))

    delta.append(delta.open_table(warehouse, "images"), "images", coming())
    # What is held at any time is less than a commit and the rows that were one too many for it.
    assert landed == [0, 0, 0, 20, 20, 40, 40]
    assert sorted(delta.read(warehouse, "images", columns=["image_id"])["image_id"].to_pylist()) == list(range(60))
    assert delta.version(warehouse, "images") == 3


def test_read_pins_filters_and_projects(warehouse):
    delta.commit(warehouse, "categories", _rows(CATEGORIES, {"category_id": 1}), app_id="a", txn=1)
    delta.commit(warehouse, "categories", _rows(CATEGORIES, {"category_id": 2}), app_id="a", txn=2)
    table = delta.read(warehouse, "categories", columns=["category_id"], where=pc.field("category_id") > 1)
    assert table.to_pydict() == {"category_id": [2]}
    assert delta.read(warehouse, "categories", version=1).num_rows == 1
    with pytest.raises(TableError, match="at version 9"):
        delta.read(warehouse, "categories", version=9)


@pytest.mark.parametrize("columns", [None, ["category_id"], ["name", "dataset"]])
def test_a_filter_on_text_reads_files_that_a_merge_wrote(warehouse, columns):
    rows = _rows(CATEGORIES, *({"dataset": name, "category_id": 1, "name": f"of {name}"} for name in "abc"))
    merge_arrow(warehouse, "categories", rows, compare=["name"])
    delta.open_table(warehouse, "categories").optimize.compact()  # all data sets in one file
    table = delta.read(warehouse, "categories", columns=columns, where=pc.field("dataset") == "b")
    assert table.column_names == (columns or CATEGORIES.arrow.names)
    assert table.num_rows == 1


def test_plan_covers_every_row_once_in_order(warehouse):
    for txn in (1, 2):
        delta.commit(warehouse, "images", _images(txn * 1000, 250), app_id="a", txn=txn)
    snapshot = delta.plan(warehouse, "images")
    assert snapshot.version == 2
    assert [unit.num_rows for unit in snapshot.units] == [*[64] * 3, 58] * 2
    ids = [i for unit in snapshot.units for i in unit.read(["image_id"])["image_id"].to_pylist()]
    assert sorted(ids) == [*range(1000, 1250), *range(2000, 2250)]
    assert delta.plan(warehouse, "images") == snapshot
    assert len(delta.plan(warehouse, "images", version=1).units) == 4
    assert snapshot.read(["sha256"], pc.field("image_id") == ids[7]).to_pylist() == [{"sha256": None}]


def test_image_layout_keeps_bytes_out_of_footer_and_log(warehouse):
    delta.commit(warehouse, "images", _images(0, 250), app_id="a", txn=1)
    unit = delta.plan(warehouse, "images").units[0]
    footer = pq.read_metadata(unit.path)
    chunk = footer.row_group(0).column(footer.schema.names.index("content"))
    assert (chunk.compression, chunk.is_stats_set) == ("UNCOMPRESSED", False)
    assert footer.serialized_size < 20_000
    assert unit.read(["content"])["content"].num_chunks == 64, "its bytes can be pointed to"
    log = (warehouse.path("images") / "_delta_log" / f"{1:020}.json").read_text()
    assert "image_id" in log
    assert len(log) < 20_000


def test_every_table_has_widely_readable_protocol(warehouse):
    for name in TABLES:
        protocol = delta.open_table(warehouse, name).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), name


def test_spark_and_delta_rs_see_one_schema(warehouse, spark):
    for table in TABLES.values():
        seen = spark.read.format("delta").load(str(warehouse.path(table.name))).schema
        stated = spark.createDataFrame([], table.ddl).schema
        assert seen.simpleString() == stated.simpleString(), table.name


@pytest.mark.parametrize("first", ["spark", "delta-rs"])
def test_transactions_are_honoured_across_writers(warehouse, spark, first):
    rows = _rows(CATEGORIES, {"category_id": 1})
    frame = spark.createDataFrame(rows)
    options = {"txnAppId": "app", "txnVersion": "1"}

    def by_spark():
        path = str(warehouse.path("categories"))
        frame.write.format("delta").mode("append").options(**options).save(path)

    def by_delta_rs():
        delta.commit(warehouse, "categories", rows, app_id="app", txn=1)

    for write in (by_spark, by_delta_rs) if first == "spark" else (by_delta_rs, by_spark):
        write()
    assert delta.read(warehouse, "categories").num_rows == 1


def test_half_created_table_is_created_again(tmp_path):
    made = create_warehouse(tmp_path)
    (made.path("images") / "_delta_log").mkdir(parents=True)
    delta.create_tables(made)
    assert DeltaTable(made.path("images")).version() == 0


def test_lock_is_freed_by_sigkill(warehouse):
    code = (
        "import sys, time; from pathlib import Path; from lakesight.warehouse import Warehouse\n"
        "with Warehouse(Path(sys.argv[1])).lock('images'):\n    print('locked', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(warehouse.root)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"locked\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with warehouse.lock("images"):
        assert warehouse.exists("images")


def test_roots_that_cannot_be(tmp_path):
    with pytest.raises(TableError, match="no tables here"):
        open_warehouse(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="not writable"):
        create_warehouse(tmp_path / "file" / "root")
    with pytest.raises(TableError, match="no table is called"):
        Warehouse(tmp_path).path("imagez")


def _older(warehouse, table, *names):
    """The table as a version that did not know these columns made it, with a row; its folder is made anew."""
    shutil.rmtree(warehouse.path(table.name))
    before = pa.schema([field for field in table.arrow if field.name not in names])
    DeltaTable.create(warehouse.path(table.name), schema=before)
    rows = _rows(table, {"category_id": 1, "name": "cat"}).select(before.names)
    write_deltalake(warehouse.path(table.name), rows.cast(before), mode="append")


def test_a_table_of_an_older_version_gets_its_new_columns_once(warehouse):
    _older(warehouse, CATEGORIES, "supercategory", "attributes", "label")
    columns = ["name", "label", "attributes"]
    before = delta.read(warehouse, "categories", columns=columns).to_pylist()
    assert before == [{"name": "cat", "label": None, "attributes": None}]  # readable as it is
    delta.create_tables(warehouse)
    delta.create_tables(warehouse)
    handle = delta.open_table(warehouse, "categories")
    assert {field.name for field in handle.schema().fields} == set(CATEGORIES.arrow.names)
    assert [entry["operation"] for entry in handle.history()] == [
        "SET TBLPROPERTIES", "ADD COLUMN", "WRITE", "CREATE TABLE",
    ]  # fmt: skip
    merge_arrow(warehouse, "categories", _rows(CATEGORIES, {"category_id": 2, "label": 1}), compare=["name"])
    merge_arrow(warehouse, "categories", _rows(CATEGORIES, {"category_id": 1, "label": 0}), compare=["label"])
    rows = delta.read(warehouse, "categories").select(["category_id", "label"]).sort_by("category_id")
    assert rows.to_pydict() == {"category_id": [1, 2], "label": [0, 1]}
    first = delta.read(warehouse, "categories", version=1, columns=columns)
    assert first.to_pylist() == before


def test_a_column_that_must_not_be_null_cannot_be_added(warehouse):
    _older(warehouse, CATEGORIES, "run_id")
    version = delta.version(warehouse, "categories")
    with pytest.raises(TableError, match="no column run_id, which must not be NULL"):
        delta.create_tables(warehouse)
    with pytest.raises(TableError, match="no column run_id in version 1"):
        delta.read(warehouse, "categories", columns=["name", "run_id"])
    assert delta.version(warehouse, "categories") == version


def test_columns_of_someone_else_stay(warehouse):
    handle = delta.open_table(warehouse, "categories")
    handle.alter.add_columns([Field("owner", PrimitiveType("string"))])
    merge_arrow(warehouse, "categories", _rows(CATEGORIES, {"category_id": 1}), compare=["name"])
    rows = _rows(CATEGORIES, {"category_id": 2})
    for txn in (1, 2):
        delta.commit(
            warehouse, "categories", rows, app_id="a", txn=txn, replacing="category_id = 2" if txn == 2 else None
        )
    delta.open_table(warehouse, "categories").update({"owner": "'me'"})
    merge_arrow(warehouse, "categories", _rows(CATEGORIES, {"category_id": 1, "name": "cat"}), compare=["name"])
    found = delta.read(warehouse, "categories").sort_by("category_id").to_pylist()
    assert [(row["category_id"], row["name"], row["owner"]) for row in found] == [(1, "cat", "me"), (2, None, "me")]
