"""JSON too deeply nested for its decoder -> JSON that is not, so that it costs its record and not the file (pure).

Only done where a decoder has given up: it is slow, and no real file has such a record.
"""

import re
from typing import NamedTuple

DEEPEST = 200
"""Decoders end at some 1,000, of which what calls them has its share; COCO's own records need 4."""
TOO_DEEP = b'"\xffnested too deeply"'
"""In place of what is deeper. It has a byte that is no UTF-8: a record that has one is refused where it is read."""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)


def is_deep(record: bytes) -> bool:
    """Whether it is nested too deeply, or was."""
    may_be = record.count(b"[") + record.count(b"{") > DEEPEST  # this look costs next to nothing
    return TOO_DEEP in record or (may_be and TOO_DEEP in shallow(record).text)


class Shallow(NamedTuple):
    """The whole records that a text begins with."""

    text: bytes
    """Less what is too deep."""
    end: int
    """In the text: behind the last of them, or before the list's bracket."""
    ended: bool
    """Whether that bracket is there."""


def shallow(text: bytes, *, one: bool = False) -> Shallow:
    """`text`: of a list, behind its opening bracket; `one`: no more than its first record, that is a list or object."""
    parts: list[bytes] = []
    depth = whole = end = done = 0
    for token in _TOKEN.finditer(text):
        what = token[0]
        if what in (b"[", b"{"):
            depth += 1
            if depth == DEEPEST + 1:
                parts += [text[done : token.start()], TOO_DEEP]
        elif what in (b"]", b"}"):
            if depth == 0:
                return Shallow(b"".join([*parts, text[done : token.start()]]), token.start(), True)
            depth -= 1
            if depth == DEEPEST:
                done = token.end()
            elif depth == 0:
                parts.append(text[done : token.end()])
                whole, end, done = len(parts), token.end(), token.end()
                if one:
                    break
        elif what == b'"':  # the text ends inside of a string
            break
    return Shallow(b"".join(parts[:whole]), end, False)
