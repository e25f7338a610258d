"""The archive of the JVM's classes: used where it is fit, and never in the way."""

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from lakesight import archive_classes, class_archive, spark


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache but for Delta's jars."""
    jars = spark.delta_jars()[0].parent
    (tmp_path / "lakesight").mkdir()
    (tmp_path / "lakesight" / jars.name).symlink_to(jars)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lakesight"


def keep(cache, content):
    made = cache / "made"
    made.write_bytes(content)
    return class_archive.keep(made)


def _java(*options):
    return subprocess.run(["java", *options, "-version"], capture_output=True, text=True, check=False)


def test_without_one_nothing_is_asked_of_java(cache):
    assert class_archive.options() == ""


def test_the_session_maps_it(spark):
    archive = class_archive.found()
    assert archive, "`make setup` makes it"
    maps = Path(f"/proc/{spark._jvm.ProcessHandle.current().pid()}/maps").read_text()
    assert archive.name in maps


@pytest.mark.parametrize("content", [b"", b"no archive"], ids=["empty", "other"])
def test_an_unfit_one_is_passed_over_without_a_word(cache, content):
    keep(cache, content)
    done = _java(*shlex.split(class_archive.options()))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.replace("mixed mode)", "mixed mode, sharing)") == _java().stderr


def test_one_without_its_end_is_none(cache):
    archive = keep(cache, b"an archive")
    assert class_archive.found() == archive
    archive.write_bytes(b"an arch")
    assert class_archive.options() == ""


def test_another_java_has_its_own(cache, monkeypatch, tmp_path):
    ours = keep(cache, b"ours")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert class_archive.found() is None
    assert ours.exists()


def test_what_is_there_is_not_made_again(cache):
    made = keep(cache, b"made")
    assert archive_classes.set_up() == made


def test_those_that_nothing_uses_are_removed(cache):
    old, used = (cache / name for name in ("classes-old.jsa", "classes-used.jsa"))
    for file in (old, used):
        file.touch()
    long_ago = time.time() - 40 * 86_400
    os.utime(old, (long_ago, long_ago))
    kept = keep(cache, b"made")
    assert sorted(cache.glob("*.jsa")) == sorted([kept, used])
