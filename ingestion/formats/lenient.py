r"""What some writers take for JSON -> JSON, so that it costs its record and not the file (pure).

Python writes NaN and Infinity, which JSON has not, and halves of characters (`"\ud800"`), which no text has. The former
become strings, the latter get a byte that is no UTF-8: a record that has one is refused where it is read.
"""

import re

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:NaN|Infinity)', re.DOTALL)
_HEX = rb"[0-9a-fA-F]{2}"
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB]" + _HEX + rb"\\u[dD][c-fC-F]" + _HEX + rb"|(\\u[dD][89a-fA-F]" + _HEX + rb")|\\.", re.DOTALL
)


def standard(text: bytes) -> bytes:
    """`text` with each such token replaced; what is between them stays as it is, JSON or not."""
    return _TOKEN.sub(_mended, text)


def _mended(token: re.Match[bytes]) -> bytes:
    found = token[0]
    if not found.startswith(b'"'):
        return b'"' + found + b'"'
    return _ESCAPE.sub(_without_half, found) if b"\\u" in found else found


def _without_half(escape: re.Match[bytes]) -> bytes:
    """Half a character: a byte that is no UTF-8, and then how it was written, as text."""
    return b"\xff\\" + escape[1] if escape[1] else escape[0]
