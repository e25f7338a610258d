"""Where things are: one resolver from a table's name to its place, and the lock its writers take.

Path is the truth: `<root>/warehouse/<schema>.db/<table>/`.
"""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakesight.errors import SetupError, TableError
from lakesight.places import is_folder
from lakesight.tables import TABLES

_ODD = re.compile(r"[\[\]{}*?\\\x00-\x1f\x7f]|%[0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Warehouse:
    """The tables under one root."""

    root: Path
    schema: str = "lakesight"

    def path(self, table: str) -> Path:
        """The folder of a table of the contract."""
        if table not in TABLES:
            raise TableError(f"no table is called {table!r}", expected=f"one of {', '.join(TABLES)}")
        return self.root / "warehouse" / f"{self.schema}.db" / table

    def exists(self, table: str) -> bool:
        """Whether the table has been created."""
        return any((self.path(table) / "_delta_log").glob("*.json"))

    def state(self, *parts: str) -> Path:
        """A path for state that is no table: logs, staging, MLflow, checkpoints."""
        return self.root.joinpath(*parts)

    @contextmanager
    def lock(self, table: str) -> Iterator[None]:
        """Hold the table's writer lock.

        A local file system gives Delta no atomic put-if-absent across processes, so every writer, Spark or
        delta-rs, takes this lock around read-then-commit. The kernel frees it when the process dies.
        """
        folder = self.path(table).parent
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{table}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def open_warehouse(root: Path) -> Warehouse:
    """The warehouse under an existing root, for verbs that only read."""
    if not is_folder(root / "warehouse"):
        raise TableError(
            "there are no tables here yet",
            where=str(root),
            expected="a folder that `lakesight ingest` or `lakesight demo` has written",
            fix="check --root, or ingest something first",
        )
    _refuse_odd(root.resolve())
    return Warehouse(root.resolve())


def create_warehouse(root: Path) -> Warehouse:
    """The warehouse under `root`, which is made if need be and proven writable."""
    _refuse_odd(root.resolve())
    probe = root / f".probe-{uuid.uuid4().hex}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(
            "the root is not writable",
            where=str(root),
            expected="a folder this user can create files in",
            fix=f"choose another --root ({error.strerror})",
        ) from error
    return Warehouse(root.resolve())


def _refuse_odd(root: Path) -> None:
    """Spark takes such a path for a pattern, and delta-rs would write beside it."""
    if odd := _ODD.search(str(root)):
        raise SetupError(
            f"the root's path has {odd[0]!r}, which Spark or delta-rs takes for something else",
            where=str(root),
            expected="a path without any of [ ] { } * ? \\, line breaks and %20",
            fix="choose another --root",
        )


def new_run_id(verb: str) -> str:
    """A run id that sorts by time: `ingest-20261123T124440-3f2a9c`."""
    return f"{verb}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(3).hex()}"
