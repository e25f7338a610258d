"""The session's own failures: no Java, old Java, no jars."""

import os
import stat

import pytest

from lakesight import spark as sessions
from lakesight.errors import SetupError


def _fake_java(folder, version):
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IEXEC)


def test_no_java(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="Spark needs Java, and there is none"):
        sessions.check_java()


def test_java_home_without_java(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match="there is none"):
        sessions.check_java()


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("21", 21), ("23-ea", 23)])
def test_new_java(monkeypatch, tmp_path, version, major):
    _fake_java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert sessions.check_java() == major


@pytest.mark.parametrize("version", ["1.8.0_412", "11.0.2"])
def test_old_java(monkeypatch, tmp_path, version):
    _fake_java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match="newer Java"):
        sessions.check_java()


def test_jars_are_fetched_once(monkeypatch, tmp_path):
    cached = sessions.delta_jars()
    assert all(jar.stat().st_size > 10_000 for jar in cached)
    before = [jar.stat().st_mtime_ns for jar in cached]
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java: a second look must not need it
    assert [jar.stat().st_mtime_ns for jar in sessions.delta_jars()] == before


def test_session_conf_is_put_back(spark):
    with sessions.conf(spark, {"parquet.block.row.count.limit": "7"}):
        assert spark.conf.get("parquet.block.row.count.limit") == "7"
    assert spark.conf.get("parquet.block.row.count.limit", None) is None


def test_session_is_shared(spark, warehouse):
    from lakesight.sections import SparkConfig

    assert sessions.session(warehouse, SparkConfig()) is spark
    assert os.environ["PYSPARK_PYTHON"]
