"""What datumaro's errors say, and of which file (run in datumaro's own environment)."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import NoReturn

from ingestion.formats.datumaro_records import SUFFIXES


def said(error: Exception, mirror: str = "") -> str:
    """The error and its causes, but those that only say that there is one; paths are relative to `mirror`."""
    words = " <- ".join(dict.fromkeys(f"{type(one).__name__}: {one}" for one in _causes(error)))
    return words.replace(f"{mirror}/", "") if mirror else words


def file_at_fault(error: BaseException, folder: str) -> str | None:
    """The file that was being read, which datumaro's messages do not name: the innermost variable that names one."""
    causes = list(_causes(error))
    frames = [frame for cause in causes[::-1] for frame, _ in reversed(list(walk_tb(cause.__traceback__)))]
    values = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, str)]
    paths = [Path(value) for value in values if "\0" not in value and len(value) < 4096]
    files = [path for path in paths if path.is_absolute() and path.is_relative_to(folder) and path.is_file()]
    names = [value for value in values if re.fullmatch(r"[\w.-]{1,200}\.(csv|txt|xml|json)", value)]
    places = [[*Path(folder).rglob(name)] for name in names]
    # An image or a mask may be that of the record before.
    found = (
        [file for file in files if file.suffix.lower() in SUFFIXES] or files or [p[0] for p in places if len(p) == 1]
    )
    return str(found[0]) if found else None


def refuse(message: str) -> NoReturn:
    """End with exit code 2 and one line on stderr."""
    sys.stderr.write(message.replace("\n", " ")[:2000])
    sys.exit(2)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
