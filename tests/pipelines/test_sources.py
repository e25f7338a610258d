"""The pipeline's sources: only what is safe in a flow, and what Databricks makes of the rules."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

import pipelines
from pipelines.arrivals import arriving, is_labels
from pipelines.rules import accept, accepts, expectations
from quality.rules import refusing

HERE = Path(pipelines.__file__).parent
SOURCES = sorted([*(HERE / "transformations").glob("*.py"), HERE / "arrivals.py", HERE / "rules.py"])
UNSAFE = {
    "withColumn", "withColumns", "withColumnRenamed", "withColumnsRenamed", "drop", "dropDuplicates", "distinct",
    "fillna", "dropna", "replace", "withWatermark", "count", "collect", "isEmpty", "first", "head", "take",
    "toPandas", "toArrow", "show", "createDataFrame", "mapInPandas", "mapInArrow", "applyInPandas", "applyInArrow",
    "createOrReplaceTempView", "cache", "persist",
}  # fmt: skip


def called(source):
    """(method, line) of every call of a method in Python source."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [(call.func.attr, call.lineno) for call in calls if isinstance(call.func, ast.Attribute)]


def attributes(source):
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_flows_keep_to_the_safe_subset(path):
    """Others read an upstream table too early: the second run is stale and says that it completed."""
    found = [(name, line) for name, line in called(path.read_text()) if name in UNSAFE]
    assert not found
    assert not attributes(path.read_text()) & {"columns", "dtypes", "rdd"}


def test_the_lint_finds_what_it_is_for():
    source = 'def flow():\n    return spark.readStream.table("up").withColumn("x", F.lit(1))\n'
    assert [call for call in called(source) if call[0] in UNSAFE] == [("withColumn", 2)]


class Databricks:
    """Of `pyspark.pipelines` on Databricks, what open-source Spark lacks."""

    def __init__(self):
        self.stated = {}

    def expect_all_or_drop(self, stated):
        self.stated.update(stated)
        return lambda query: query


@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_on_databricks_every_refusing_rule_is_an_expectation(table):
    dp, query = Databricks(), lambda: None
    assert accept(dp, table)(query) is query  # no WHERE: what is dropped before cannot be counted
    assert list(dp.stated) == [rule.name for rule in refusing(table)]
    assert dp.stated == expectations(table)


@pytest.mark.slow
def test_what_arrives_is_in_the_folder_and_comes_once(spark, tmp_path):
    folder, secret = tmp_path / "in" / "sub ü", tmp_path / "secret.xml"
    folder.mkdir(parents=True)
    secret.write_text("secret")
    (folder / "a.XML").write_text("a")
    (folder / "note.txt").write_text("no annotations")
    (folder / "link.xml").symlink_to(folder / "a.XML")
    (folder / "out.xml").symlink_to(secret)
    updates = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    for at, seen in zip(updates, (["a.XML", "link.xml"], ["a.XML", "b.xml", "link.xml"]), strict=True):
        files = arriving(spark, tmp_path / "in", at=at, where=is_labels("voc"))
        stream = files.writeStream.option("checkpointLocation", str(tmp_path / "checkpoint"))
        stream.trigger(availableNow=True).start(str(tmp_path / "files"), format="parquet").awaitTermination()
        rows = spark.read.parquet(str(tmp_path / "files")).orderBy("path").collect()
        assert [row.path for row in rows] == [str(folder / name) for name in seen]
        assert {bytes(row.content) for row in rows} <= {b"a", b"b"}
        (folder / "b.xml").write_text("b")
    came = spark.read.parquet(str(tmp_path / "files")).selectExpr("path", "unix_timestamp(arrived_at) AS at").collect()
    assert [row.at for row in sorted(came)] == [updates[i].timestamp() for i in (0, 1, 0)]


def test_a_rule_that_is_null_holds(spark):
    frame = spark.sql(
        "SELECT * FROM VALUES (1, NULL, FALSE, CAST(NULL AS STRING)), (2, 'category_record_valid', FALSE, NULL), "
        "(3, NULL, TRUE, NULL) AS t (category_id, refused_by, id_taken, record)"
    )
    assert [row.category_id for row in frame.where(accepts("categories")).collect()] == [1]
