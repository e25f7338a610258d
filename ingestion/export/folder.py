"""A folder or file that appears whole or not at all (no engine)."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lakesight.errors import TableError, UserError
from lakesight.places import is_file, is_folder, is_there

MANIFEST = "lakesight-export.json"
"""In every exported folder: what it was made of. Only a folder that has it is ever replaced."""


@contextmanager
def whole(target: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder beside `target`, which takes its place when the block ends; dropped if the block raises.

    Raises:
        UserError: there is something at `target`, and no `force`, or it was not exported by us; or nothing can be
            written there.
    """
    partial, replaced = (target.with_name(f".{target.name}.{state}") for state in ("partial", "replaced"))
    if is_there(replaced) and not is_there(target):  # a run was killed between the two renames below
        replaced.rename(target)
    _refuse_occupied(target, force=force)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    with _writing(target):
        partial.mkdir(parents=True)
    try:
        yield partial
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        partial.rename(target)
    finally:
        for folder in (partial, replaced):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"it cannot be written: {error.strerror}",
            where=str(target),
            expected="a place that you may write to, with room for it",
            fix="choose another --to",
        ) from error


def _refuse_occupied(target: Path, *, force: bool) -> None:
    with _writing(target):
        empty = is_folder(target) and next(target.iterdir(), None) is None
    if not is_there(target) or empty:
        return
    ours = is_file(target / MANIFEST)
    if not (ours and force):
        raise UserError(
            "the folder to export to is not empty"
            if is_folder(target)
            else "there is a file where the folder should be",
            where=str(target),
            expected="a new or empty folder",
            fix="add --force to replace that export"
            if ours
            else "choose another --to; this one was not exported by us",
        )


def write(folder: Path, name: str, pieces: Iterable[bytes]) -> int:
    """Write a file inside `folder`; returns its size.

    Raises:
        TableError: `name` leads out of the folder, or is there already.
        UserError: it cannot be written.
    """
    path = place(folder, name)
    with _writing(path), path.open("xb") as file:
        return sum(file.write(piece) for piece in pieces)


def place(folder: Path, name: str) -> Path:
    """The path of a new file inside `folder`, whose parents exist.

    Raises:
        TableError: it would lie outside, or two rows of the tables claim it.
        UserError: its folder cannot be made.
    """
    path = folder / name
    if "\0" in name or ".." in path.parts:
        raise TableError(f"{name!r} leads out of the exported folder", fix="correct `file_name` in the tables")
    if is_there(path):
        raise TableError(
            f"two rows would be written to the same file, {name!r}",
            expected="a file name once a split",
            fix="export the splits or parts of the data set one by one, with --where",
        )
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_manifest(folder: Path, manifest: dict[str, object]) -> None:
    """Say what the folder was made of."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(text + b"\n")


def write_file(target: Path, pieces: Iterable[bytes], *, force: bool) -> None:
    """A file that appears whole.

    Raises:
        UserError: there is one already, and no `force`; or it cannot be written.
    """
    if is_there(target) and not force:
        raise UserError(
            "the file to export to exists", where=str(target), expected="a new file", fix="add --force to replace it"
        )
    partial = target.with_name(f".{target.name}.partial")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(target)
