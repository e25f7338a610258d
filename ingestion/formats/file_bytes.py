"""An open file whose parts are read as they are asked for (no engine)."""

import codecs
import json
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ingestion.formats.windows import PIECE, Bytes
from lakesight.errors import UserError


class FileBytes:
    """A file as `bytes` that are not in memory."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice, /) -> bytes:
        start, end, _ = key.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, end - start))


@contextmanager
def file_bytes(path: Path) -> Iterator[Bytes]:
    """The bytes of an annotation file.

    Raises:
        UserError: it does not open.
    """
    try:
        seen = path.stat()
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):  # opening a pipe would wait for ever
            raise OSError("it is no file")
        size = seen.st_size
        file = path.open("rb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(
            f"the annotation file cannot be read: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            expected="a COCO JSON file",
            fix="check --annotations",
        ) from error
    with file:
        encoding = json.detect_encoding(file.read(4))
        if encoding.startswith("utf-8"):
            yield FileBytes(file, size)
        else:
            with tempfile.TemporaryFile() as copy:
                yield FileBytes(copy, _write_in_utf8(file, encoding, copy))


def _write_in_utf8(file: BinaryIO, encoding: str, copy: BinaryIO) -> int:
    """Write a file's text, as some write JSON in UTF-16 or UTF-32; returns the bytes."""
    file.seek(0)
    texts = codecs.iterdecode(iter(partial(file.read, PIECE), b""), encoding, errors="replace")
    return sum(copy.write(text.encode()) for text in texts)
