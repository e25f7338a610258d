"""What is in a folder: image files by name, what was passed over, what must not be read (no engine)."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ingestion.formats.broken import Broken
from lakesight.errors import UserError
from lakesight.places import is_folder

_SUFFIXES = (
    *("avif", "bmp", "dib", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg"),
    *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
)
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES)
IMAGE_FILE = re.compile(rf"\.({'|'.join(_SUFFIXES)})\Z", re.IGNORECASE)
RECORD_FILE = re.compile(r"\.(tfrecords?|tfrec|records?)(-\d+-of-\d+)?(\.gz)?\Z", re.IGNORECASE)
MAX_BYTES = 2**26
"""Larger annotation files of one image are refused unread."""


@dataclass(frozen=True)
class Files:
    """Files under a folder, POSIX paths relative to it, sorted; hidden ones are left out."""

    names: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Why a file of that name must not be read: it is a link out of the folder, or its name is no text."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files were passed over, by suffix; hidden ones under `hidden`."""

    def note(self, folder: Path, kind: str) -> list[str]:
        """At most one sentence on what was passed over, as it is no `kind`."""
        counts = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in self.skipped.most_common(5))
        return [f"{folder}: {self.skipped.total():,} files are no {kind} and were passed over ({counts})"] * bool(
            counts
        )


def find(folder: Path, kind: re.Pattern[str] = IMAGE_FILE) -> Files:
    """The files under `folder` in whose name `kind` is found.

    Links to files inside are followed, links to folders are not.

    Raises:
        UserError: the folder cannot be read.
    """
    found = Files()
    root = os.path.realpath(folder)
    pending = [""]
    while pending:
        inside = pending.pop()
        for entry in _entries(os.path.join(root, inside)):  # noqa: PTH118 - a Path each is half the time
            name = f"{inside}/{entry.name}".removeprefix("/")
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                found.skipped["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name)
            else:
                _sort_in(found, entry, name, root, kind)
    found.names.sort()
    return found


def _sort_in(found: Files, entry: "os.DirEntry[str]", name: str, root: str, kind: re.Pattern[str]) -> None:
    suffix = PurePosixPath(entry.name).suffix.lower()
    link = entry.is_symlink()
    if link and not f"{os.path.realpath(entry.path)}/".startswith(f"{root}/"):
        found.refused[printable(name)] = "it is a link out of the folder"
    elif link and is_folder(Path(entry.path)):  # `entry.is_dir` raises where a link leads to itself
        found.refused[printable(name)] = "it is a link to a folder, which is not followed"
    elif not kind.search(entry.name) or not (link or entry.is_file()):  # a pipe is neither
        found.skipped[printable(suffix)] += 1
    elif printable(name) != name:
        found.refused[printable(name)] = "its name is not UTF-8"
    else:
        found.names.append(name)


def printable(name: str) -> str:
    """A name as text: bytes that are not UTF-8 become the replacement character."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def require_folder(folder: Path, expected: str, fix: str) -> None:
    """Refuse a folder that cannot be listed.

    Raises:
        UserError: it is missing, a file, or not readable.
    """
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        what = f"the folder cannot be read: {error.strerror}"
        raise UserError(what, where=str(folder), expected=expected, fix=fix) from error


def stem(name: str) -> str:
    """A POSIX path without its suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def read_small(path: Path) -> bytes:
    """The bytes of one image's annotation file.

    Raises:
        Broken: it cannot be read, is no plain file, or is larger than `MAX_BYTES`.
    """
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise Broken("it is no file")
        if path.stat().st_size > MAX_BYTES:
            raise Broken(f"it has more than {MAX_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Broken(f"it cannot be read: {error.strerror}") from error


def _entries(folder: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"a folder cannot be read: {error.strerror}", where=folder, fix="check its rights") from error
