"""A run's own folder for intermediate files: gone when the run ends or, if it was killed, when the next one starts."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lakesight.errors import UserError
from lakesight.progress import step
from lakesight.warehouse import Warehouse


@contextmanager
def alone(warehouse: Warehouse, what: str, *, wait: bool = True) -> Iterator[None]:
    """Wait until no other process on this machine is in a block of the same name, then keep others out.

    Raises:
        UserError: one is, and `wait` is false.
    """
    base = warehouse.state("staging")
    base.mkdir(parents=True, exist_ok=True)
    with (base / f".alone-{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not wait:
                raise UserError(
                    f"another process does this already: {what}",
                    where=str(warehouse.root),
                    expected="one at a time",
                    fix="let it go on, or stop it first",
                ) from error
            with step(f"Waiting for another process: {what}"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def staging(warehouse: Warehouse, run_id: str) -> Iterator[Path]:
    """An empty folder for the length of a block; leftovers of killed runs are removed, live runs' are not."""
    base = warehouse.state("staging")
    base.mkdir(parents=True, exist_ok=True)
    folder = base / run_id
    with (base / ".lock").open("w") as guard:
        # The guard makes "remove the dead, announce myself" one step: no one sees a folder whose lock is not held.
        fcntl.flock(guard, fcntl.LOCK_EX)
        _remove_dead(base)
        owner = _lock_of(folder).open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
        folder.mkdir()
    try:
        yield folder
    finally:
        _remove(folder, owner)


def _remove_dead(base: Path) -> None:
    for folder in [path for path in base.iterdir() if path.is_dir()]:
        owner = _lock_of(folder).open("w")
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.close()  # its run is alive
        else:
            _remove(folder, owner)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _remove(folder: Path, owner: IO[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)
    owner.close()
