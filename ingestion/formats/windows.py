"""The members of a JSON object, its long arrays in windows (pure): memory is bounded, whatever the file's size.

No tokenizer is needed. A window is cut behind the last `},` that a `{` follows. If that place is inside a record, what
is left of it is not whole JSON; so what decodes as a list was cut between two records. Where the array ends inside the
window, the decoder says at which byte.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Protocol

import msgspec

from ingestion.formats.lenient import standard
from lakesight.errors import FormatError

WINDOW = 16 * 2**20
_CUT = re.compile(rb"\}\s*,\s*(?=\{)")
_SPACE = re.compile(rb"[ \t\r\n]*")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_JSON = json.JSONDecoder()


class Bytes(Protocol):
    """`bytes`, or a memory-mapped file."""

    def __len__(self) -> int:
        """Number of bytes."""
        ...

    def __getitem__(self, key: slice, /) -> bytes:
        """A part of them."""
        ...


def members(data: Bytes, arrays: Collection[str], where: str, window: int = WINDOW) -> Iterator[tuple[str, bytes]]:
    """(key, JSON) of a JSON object in its order; an array of objects under one of `arrays` comes as several lists.

    `window`: bytes of such a list, unless one record is longer. What only some writers take for JSON is made JSON
    (`ingestion/formats/lenient.py`).

    Raises:
        FormatError: not a JSON object.
    """
    at = _expect(data, 3 if data[:3] == b"\xef\xbb\xbf" else 0, b"{", where)
    while (at := _skip(data, at)) < len(data) and data[at : at + 1] != b"}":
        end = _end_of_value(data, at, where)
        key = _key(data[at:end], where, at)
        at = _skip(data, _expect(data, end, b":", where))
        if key in arrays and data[at : at + 1] == b"[":
            for behind, part in _windows(data, at + 1, window, where):
                yield key, part
                at = behind
        else:
            end = _end_of_value(data, at, where)
            yield key, standard(data[at:end])
            at = end
        at = _skip(data, at)
        if data[at : at + 1] == b",":
            at += 1
    _expect(data, at, b"}", where)


def _key(text: bytes, where: str, at: int) -> str:
    if not text.startswith(b'"'):
        raise _not_json(where, at)
    key: str = msgspec.json.decode(standard(text).decode(errors="replace"))
    return key


def _windows(data: Bytes, at: int, window: int, where: str) -> Iterator[tuple[int, bytes]]:
    """(where it ends, list of records) for an array whose bracket opened before `at`; the last may be empty."""
    size, ended = window, False
    while not ended:
        part, used, ended = _list_of(data[at : at + size])
        if part is not None and used:
            at, size = _skip(data, at + used), window
            if not ended and data[at : at + 1] == b",":  # the window ended just before it
                at += 1
            yield at, part
        elif at + size >= len(data):
            raise _not_json(where, at)
        else:
            size *= 2  # not one whole record in it


def _list_of(text: bytes) -> tuple[bytes | None, int, bool]:
    """(list of the whole records at the start of `text`, bytes used, whether the array ended there)."""
    for cut in (*reversed([match.end() for match in _CUT.finditer(text)]), len(text)):
        body = text[:cut].rstrip().removesuffix(b",") if cut < len(text) else text
        whole, end = _decode(b"[" + body + b"]")
        if whole is not None and (end is not None or body.rstrip().endswith(b"}")):
            return whole, cut if end is None else end - 1, end is not None
    return None, 0, False


def _decode(text: bytes) -> tuple[bytes | None, int | None]:
    """(the list that `text` begins with, where it ends if something follows); (None, None): no whole list."""
    try:
        msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        found = _TRAILING.search(str(error))
        if found is None:
            return (None, None) if "truncated" in str(error) else _decode_lenient(text)
        end = text.rindex(b"]", 0, int(found.group(1)) - 1) + 1
        return text[:end], end
    return text, None


def _decode_lenient(text: bytes) -> tuple[bytes | None, int | None]:
    """As `_decode`, of what only some writers take for JSON."""
    latin = text.decode("latin-1")  # a character a byte: what is between the quotes does not matter here
    try:
        _, end = _JSON.raw_decode(latin)
    except (ValueError, RecursionError):
        return None, None
    return standard(text[:end]), None if end == len(text) else end


def _end_of_value(data: Bytes, at: int, where: str) -> int:
    size = 2**16
    while True:
        latin = data[at : at + size].decode("latin-1")
        try:
            end = at + _JSON.raw_decode(latin)[1]
        except (ValueError, RecursionError) as error:
            if at + size >= len(data):
                raise _not_json(where, at) from error
        else:
            if end < at + size or end >= len(data):  # a number may go on behind the window
                return end
        size *= 4


def _skip(data: Bytes, at: int) -> int:
    while True:
        text = data[at : at + 4096]
        found = _SPACE.match(text)
        spaces = found.end() if found else 0
        at += spaces
        if spaces < 4096:
            return at


def _expect(data: Bytes, at: int, what: bytes, where: str) -> int:
    at = _skip(data, at)
    if data[at : at + 1] != what:
        raise _not_json(where, at)
    return at + 1


def _not_json(where: str, at: int) -> FormatError:
    return FormatError(
        f"the annotation file is not JSON from byte {at} on", where=where, expected="an object, as COCO writes it"
    )
