"""Which rows Great Expectations looks at: those of runs that came since the last check by the same rules."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lakesight import delta
from lakesight.tables import TABLES
from quality.unseen import unseen_runs


def write(warehouse, run_id):
    row = {"dataset": "d", "category_id": 1, "run_id": run_id}
    delta.commit(warehouse, "categories", pa.Table.from_pylist([row], TABLES["categories"].arrow), app_id=run_id, txn=1)
    return delta.version(warehouse, "categories")


@pytest.fixture
def checked(warehouse):
    """Two runs, of which a check by rules `h` has seen the first."""
    seen = write(warehouse, "one")
    row = {
        "run_id": "check", "rule": "r", "dataset": "d", "table_name": "categories", "table_version": seen,
        "rules_hash": "h", "checked_at": datetime.now(UTC),
    }  # fmt: skip
    delta.commit(
        warehouse, "quality_results", pa.Table.from_pylist([row], TABLES["quality_results"].arrow), app_id="c", txn=1
    )
    return warehouse, seen, write(warehouse, "two")


def test_rows_of_later_runs(checked):
    warehouse, seen, now = checked
    assert unseen_runs(warehouse, "h", ["d"], {"categories": now}) == {"categories": {"two"}}
    assert unseen_runs(warehouse, "h", ["d"], {"categories": seen}) == {"categories": set()}


@pytest.mark.parametrize(("rules_hash", "datasets"), [("other", ["d"]), ("h", ["d", "never checked"])])
def test_everything_where_there_was_no_such_check(checked, rules_hash, datasets):
    warehouse, _, now = checked
    assert unseen_runs(warehouse, rules_hash, datasets, {"categories": now}) == {"categories": None}


def test_everything_where_the_files_of_the_old_version_are_gone(checked):
    warehouse, seen, _ = checked
    table = delta.open_table(warehouse, "categories")
    table.delete("run_id = 'one'")
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    now = delta.version(warehouse, "categories")
    assert now > seen
    assert unseen_runs(warehouse, "h", ["d"], {"categories": now}) == {"categories": None}
