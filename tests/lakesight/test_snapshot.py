"""What Spark writes with the features of Delta's protocol is read as Spark reads it, or refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from lakesight import as_of, delta
from lakesight.errors import TableError
from lakesight.snapshot import plan_table
from lakesight.spark import IMAGE_LAYOUT, conf
from lakesight.warehouse import Warehouse

COLUMNS = """id BIGINT, name STRING, place STRING, day DATE, at TIMESTAMP,
  boxes ARRAY<STRUCT<x: INT, y: DOUBLE>>, tags MAP<STRING, STRING>"""
ROWS = """SELECT id + {first}, concat('n', id), IF(id % 2 = 0, 'a b/c%', NULL), DATE'2026-01-01' + CAST(id % 2 AS INT),
  TIMESTAMP'2026-01-01 12:00:00' + make_interval(0, 0, 0, CAST(id AS INT)),
  IF(id = 7, NULL, array(struct(CAST(id AS INT), id / 2D))), map('k', CAST(id AS STRING)){more} FROM range(0, 20, 1, 1)"""
MAPPED = "'delta.columnMapping.mode' = 'name'"
RENAMED = ("ALTER TABLE {t} RENAME COLUMN name TO title", "ALTER TABLE {t} RENAME COLUMN boxes.element.x TO left")
FEATURES = {
    "deletion vectors": ("'delta.enableDeletionVectors' = 'true'", "", ("DELETE FROM {t} WHERE id % 5 < 2",)),
    "deletion vectors, partitioned": (
        "'delta.enableDeletionVectors' = 'true'",
        "PARTITIONED BY (place, day)",
        ("DELETE FROM {t} WHERE id IN (0, 3, 5)",),
    ),
    "column mapping, legacy": (
        f"{MAPPED}, 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5'",
        "",
        (*RENAMED, "ALTER TABLE {t} DROP COLUMN boxes.element.y", "ALTER TABLE {t} DROP COLUMN tags"),
    ),
    "column mapping, feature": (
        f"{MAPPED}, 'delta.feature.columnMapping' = 'supported', 'delta.enableDeletionVectors' = 'true'",
        "PARTITIONED BY (place)",
        (*RENAMED, "ALTER TABLE {t} RENAME COLUMN place TO site", "DELETE FROM {t} WHERE id = 4"),
    ),
    "v2 checkpoint": (
        "'delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2'",
        "",
        ("DELETE FROM {t} WHERE id = 3", "DELETE FROM {t} WHERE id = 4"),
    ),
    "evolved": (
        "",
        "",
        (
            "ALTER TABLE {t} ADD COLUMNS (weight INT, boxes.element.label STRING)",
            "INSERT INTO {t} SELECT id + 100, name, place, day, at, array(struct(1, 2D, 'c')), tags, 7 FROM {t}",
        ),
    ),
}
REFUSED = {
    "typeWidening": "'delta.enableTypeWidening' = 'true'",
    "columnMapping by id": "'delta.columnMapping.mode' = 'id'",
}


def write(spark, path, properties="", layout="", statements=()):
    table = f"delta.`{path}`"
    kept = f"TBLPROPERTIES ({properties})" if properties else ""
    spark.sql(f"CREATE TABLE {table} ({COLUMNS}) USING delta {layout} {kept}")
    spark.sql(f"INSERT INTO {table} {ROWS.format(first=0, more='')}")
    for statement in statements:
        spark.sql(statement.format(t=table))


def by_spark(spark, path, **options):
    return spark.read.format("delta").options(**options).load(str(path)).orderBy("id").toArrow().to_pylist()


@pytest.mark.parametrize("feature", FEATURES)
def test_rows_are_what_spark_reads(spark, tmp_path, feature):
    write(spark, tmp_path / "t", *FEATURES[feature])
    snapshot = plan_table(DeltaTable(tmp_path / "t"), "t")
    expected = by_spark(spark, tmp_path / "t")
    assert snapshot.read().sort_by("id").to_pylist() == expected
    assert sum(unit.num_rows for unit in snapshot.units) == len(expected)
    for column in snapshot.schema.names:  # alone, as it may lie in no file
        assert len(snapshot.read([column])) == len(expected)
    some = snapshot.read(["id"], (pc.field("day") > pc.scalar(datetime(2026, 1, 1).date())) & (pc.field("id") < 9))
    assert sorted(some["id"].to_pylist()) == [r["id"] for r in expected if r["id"] < 9 and r["id"] % 2]


def test_a_time_is_the_version_that_spark_reads_then(spark, tmp_path):
    warehouse = Warehouse(tmp_path)
    path = warehouse.path("categories")
    write(spark, path, statements=("DELETE FROM {t} WHERE id < 5", "DELETE FROM {t} WHERE id < 10"))
    history = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").orderBy("version").collect()
    times = [row["timestamp"].replace(tzinfo=UTC) for row in history]
    for at in (times[1], times[2] - timedelta(milliseconds=1), times[2], times[3]):
        (version,) = as_of.versions(warehouse, ["categories"], at.isoformat()).values()
        expected = by_spark(spark, path, timestampAsOf=at.strftime("%Y-%m-%d %H:%M:%S.%f"))
        rows = delta.read(warehouse, "categories", columns=list(expected[0]), version=version)
        assert rows.sort_by("id").to_pylist() == expected
    with pytest.raises(TableError, match="not there yet"):
        as_of.versions(warehouse, ["categories"], (times[0] - timedelta(seconds=1)).isoformat())


@pytest.mark.parametrize("feature", REFUSED)
def test_what_cannot_be_read_is_refused(spark, tmp_path, feature):
    spark.sql(f"CREATE TABLE delta.`{tmp_path}/t` (id INT) USING delta TBLPROPERTIES ({REFUSED[feature]})")
    with pytest.raises(TableError, match=f"cannot be read here: {feature}"):
        plan_table(DeltaTable(tmp_path / "t"), "t")


def test_a_file_that_vacuum_took_is_named(spark, tmp_path):
    write(spark, tmp_path / "t")
    snapshot = plan_table(DeltaTable(tmp_path / "t"), "t")
    for file in (tmp_path / "t").glob("*.parquet"):
        file.unlink()
    with pytest.raises(TableError, match="a file of the table is gone"):
        snapshot.read(["id"])


def test_narrow_columns_of_many_row_groups_are_the_rows_that_spark_reads(spark, tmp_path):
    path = tmp_path / "t"
    kept = "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
    spark.sql(f"CREATE TABLE delta.`{path}` (id BIGINT, content BINARY) USING delta {kept}")
    with conf(spark, IMAGE_LAYOUT):
        spark.sql(f"INSERT INTO delta.`{path}` SELECT id, cast(id AS STRING)::BINARY FROM range(0, 300, 1, 1)")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id IN (3, 70, 71, 150) OR id % 60 = 0")
    snapshot = plan_table(DeltaTable(path), "t")
    assert len(snapshot.units) == 5
    wide = snapshot.read()
    assert wide["id"].to_pylist() == [row["id"] for row in by_spark(spark, path)]
    assert wide["content"].to_pylist() == [str(i).encode() for i in wide["id"].to_pylist()]
    assert snapshot.read(["id"]) == wide.select(["id"])
    assert [part.num_rows for part in snapshot.parts(["id"])] == [len(wide)]
    assert len(list(snapshot.parts(["id", "content"]))) == 5
    some = pc.field("id").isin([3, 4, 299])
    for columns in (["id"], ["id", "content"]):
        assert snapshot.read(columns, some)["id"].to_pylist() == [4, 299]


def test_statistics_say_where_a_number_cannot_be(spark, tmp_path):
    write(spark, tmp_path / "t")
    (unit,) = plan_table(DeltaTable(tmp_path / "t"), "t").units
    ranges = [(-5, -1), (-5, 0), (7, 7), (19, 30), (20, 30)]
    assert [unit.may_hold("id", low, high) for low, high in ranges] == [False, True, True, True, False]


def test_files_without_a_number_are_left_out_unread(spark, tmp_path):
    write(spark, tmp_path / "t")
    spark.sql(f"INSERT INTO delta.`{tmp_path / 't'}` {ROWS.format(first=100, more='')}")
    table = DeltaTable(tmp_path / "t")
    for file in table.file_uris():
        path = Path(file.removeprefix("file://"))
        if pq.read_table(path)["id"][0].as_py() < 100:
            path.unlink()
    found = plan_table(table, "t", {"id": (105, 200)})
    assert found.read(["id"], pc.field("id") == 105)["id"].to_pylist() == [105]
    assert plan_table(table, "t", {"id": (20, 99)}).units == ()
    with pytest.raises(TableError, match="a file of the table is gone"):
        plan_table(table, "t", {"id": (19, 105)})
