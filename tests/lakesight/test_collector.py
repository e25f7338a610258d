"""Commands look at all objects less often; who imports us keeps their own setting."""

import gc
import subprocess
import sys

from lakesight.collector import ROUNDS


def test_a_command_looks_at_all_objects_seldom(run):
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], 10)
    try:
        run("--help")
        assert gc.get_threshold() == (before[0], before[1], ROUNDS)
    finally:
        gc.set_threshold(*before)


def test_an_import_changes_nothing():
    code = "import gc, lakesight.cli.app, lakesight.cluster; print(gc.get_threshold()[2])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "10"
