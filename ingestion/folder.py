"""What is in a watched folder, what has changed there, and which of its files a `file_name` means (no engine)."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from lakesight.tables import LONG, STRING, TIME

LISTING = pa.schema([("source_uri", STRING), ("size_bytes", LONG), ("modified_at", TIME), ("changed_at", TIME)])
"""A regular file: where it is, its size, `mtime` and `ctime` (which `cp -p` and `touch -d` cannot set back)."""
Stamp = tuple[int, int, int]


def list_files(folder: Path) -> pa.Table:
    """`LISTING` of all files below `folder`, sorted; hidden ones - a name with a leading dot - are left out.

    Raises:
        OSError: the folder itself cannot be read.
    """
    rows = sorted(_walk(str(folder)))
    columns = [[row[column] for row in rows] for column in range(len(LISTING))]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, LISTING, strict=True)], schema=LISTING)


def _walk(folder: str) -> Iterator[tuple[str, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(entry.path)
                elif stat.S_ISREG((seen := entry.stat()).st_mode):
                    # A name that is no UTF-8 fits in no table: it is listed with a replacement character.
                    path = os.fsencode(entry.path).decode(errors="replace")
                    yield path, seen.st_size, seen.st_mtime_ns // 1000, seen.st_ctime_ns // 1000
            except OSError:  # it went away, or may not be read: not there
                continue


def digest(files: pa.Table) -> str:
    """sha256 of a `LISTING`: differs as soon as any file came, went, grew or was touched."""
    sha256 = hashlib.sha256()
    for batch in files.combine_chunks().to_batches():
        sha256.update(batch.serialize())
    return sha256.hexdigest()


@dataclass(frozen=True)
class Folder:
    """A watched folder at one moment; `files` is its `LISTING`."""

    path: Path
    files: pa.Table

    @cached_property
    def stamps(self) -> dict[str, Stamp]:
        """Path -> (size in bytes, mtime, ctime in microseconds)."""
        return stamps(self.files)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for path in self.stamps:
            names.setdefault(os.path.basename(path), []).append(path)  # noqa: PTH119 - a Path each is half the time
        return names

    def places(self, file_name: str, annotations: Path) -> list[str]:
        """Files that `file_name` in an annotation file may mean.

        The one beside the annotation file, or at that path below the folder; else all whose path ends with it.
        """
        for base in (annotations.parent, self.path):
            place = os.path.normpath(os.path.join(base, file_name))  # noqa: PTH118 - as above
            if place in self.stamps:
                return [place]
        tail = os.sep + os.path.normpath(file_name)
        found = [path for path in self._by_name.get(os.path.basename(tail), []) if path.endswith(tail)]  # noqa: PTH119
        if not found and "\\" in file_name:  # written on Windows
            return self.places(file_name.replace("\\", "/"), annotations)
        return found


def stamps(files: pa.Table) -> dict[str, Stamp]:
    """Path -> (size in bytes, mtime, ctime in microseconds) of rows with the columns of `LISTING`."""
    numbers = (files[name].cast(LONG).to_pylist() for name in LISTING.names[1:])
    return dict(zip(files["source_uri"].to_pylist(), zip(*numbers, strict=True), strict=True))
