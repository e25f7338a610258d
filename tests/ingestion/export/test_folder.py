"""A folder that is whole or not there, whatever happens in between."""

import signal
import subprocess
import sys

import pytest

from ingestion.export import folder as folders
from lakesight.errors import TableError, UserError

KILLED = """
import os, signal, sys
from pathlib import Path
from ingestion.export import folder
with folder.whole(Path(sys.argv[1]), force=True) as partial:
    (partial / "half").write_text("half")
    {kill}
"""
NOW = "os.kill(os.getpid(), signal.SIGKILL)"
BETWEEN = f"Path.rename = (lambda rename: lambda *a: (rename(*a), {NOW}))(Path.rename)"


@pytest.mark.parametrize("kill", [NOW, BETWEEN], ids=["while writing", "between the renames"])
def test_a_killed_run_costs_nothing(tmp_path, kill):
    out = tmp_path / "out"
    with folders.whole(out, force=False) as partial:
        folders.write(partial, "a/b", [b"whole", b"!"])
        folders.write_manifest(partial, {})
    done = subprocess.run([sys.executable, "-c", KILLED.format(kill=kill), str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="--force"), folders.whole(out, force=False):
        pass
    assert (out / "a/b").read_bytes() == b"whole!"
    with folders.whole(out, force=True) as partial:
        folders.write(partial, "c", [])
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "c"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"), folders.whole(tmp_path / "file" / "out", force=False):
        pytest.fail("there is no folder to write to")
    with pytest.raises(UserError, match="cannot be written"):
        folders.write_file(tmp_path / "file" / "out.json", [b"{}"], force=False)
    with pytest.raises(UserError, match="cannot be written"), folders.whole(tmp_path / ("x" * 300), force=False):
        pytest.fail("no folder can be called so")
    for name in ("x" * 300, "x" * 300 + "/a", "file/a"):
        with pytest.raises(UserError, match="cannot be written"):
            folders.write(tmp_path, name, [b"a"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TableError), folders.whole(tmp_path / "out", force=False) as partial:
        folders.write(partial, "../a", [b"a"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "out").write_text("mine")
    with (
        pytest.raises(UserError, match="a file where the folder should be"),
        folders.whole(tmp_path / "out", force=True),
    ):
        pass
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", ["../a", "a/../../b", "a\0"])
def test_names_stay_inside(tmp_path, name):
    with pytest.raises(TableError, match="leads out"):
        folders.place(tmp_path, name)


def test_two_rows_one_file(tmp_path):
    folders.write(tmp_path, "a", [])
    with pytest.raises(TableError, match="two rows"):
        folders.write(tmp_path, "a", [])
