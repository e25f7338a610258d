"""The members of a JSON object, its long arrays in pieces (pure): memory is bounded, whatever the file's size.

No tokenizer is needed. A piece is cut behind the last `},` that a `{` follows. If that place is inside a record, what
is left of it is not whole JSON; so what decodes as a list was cut between two records. Where the array ends inside the
piece, the decoder says at which byte. The same decode gives the records: each byte of a file is decoded once.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from ingestion.formats.lenient import standard
from ingestion.formats.shallow import is_deep, shallow
from lakesight.errors import FormatError

PIECE = 2**20
"""Bytes: what a cache and an allocator keep at hand; with 32 MB at a time parsing takes half as long again."""
PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip"}
"""First bytes -> what packs so."""
RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_CUT = re.compile(rb"\}\s*,\s*\Z")
_SPACES = 256
"""Between two records there are rarely more."""
_SPACE = re.compile(rb"[ \t\r\n]*")
_HALF_AT_END = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}.{0,5}\Z", re.DOTALL)
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_JSON = json.JSONDecoder()


class Bytes(Protocol):
    """`bytes`, or an open file."""

    def __len__(self) -> int:
        """Number of bytes."""
        ...

    def __getitem__(self, key: slice, /) -> bytes:
        """A part of them."""
        ...


class Piece(NamedTuple):
    """A member of the object, or some records of one of its arrays."""

    key: str
    text: bytes
    """Standard JSON; of an array a list."""
    records: list[Any] | None
    """Of an array: what its decoder makes of `text`; None where the records are of another kind."""
    start: int
    end: int
    """Where it is: of an array without brackets."""


Decoders = Mapping[str, msgspec.json.Decoder[list[Any]]]
"""The arrays of objects that come in pieces, and what decodes each."""


class _List(NamedTuple):
    text: bytes
    records: list[Any] | None
    end: int | None
    """Behind its bracket, if something follows."""


def members(data: Bytes, arrays: Decoders, where: str, size: int = PIECE) -> Iterator[Piece]:
    """The members of a JSON object in its order; an array under one of `arrays` in pieces, the last maybe empty.

    `size`: bytes of a piece, unless one record is longer. What only some writers take for JSON is made JSON
    (`ingestion/formats/lenient.py`).

    Raises:
        FormatError: not a JSON object.
    """
    if packed := PACKED.get(data[:2]):
        raise _not_json(where, 0, f": it is packed by {packed}, unpack it first")
    at = _skip(data, _expect(data, 3 if data[:3] == b"\xef\xbb\xbf" else 0, b"{", where))
    more = data[at : at + 1] != b"}"
    while more:
        end = _end_of_value(data, at, where)
        key = _key(data[at:end], where, at)
        at = _skip(data, _expect(data, end, b":", where))
        if key in arrays and data[at : at + 1] == b"[":
            for behind, piece in _pieces(data, key, at + 1, arrays[key], size, where):
                yield piece
                at = behind
        else:
            end = _end_of_value(data, at, where)
            # No record that could be refused: what is no text in it is replaced.
            stated = data[at:end]
            stated = shallow(stated, one=True).text if is_deep(stated) else stated
            yield Piece(key, standard(stated).decode(errors="replace").encode(), None, at, end)
            at = end
        at = _skip(data, at)
        more = data[at : at + 1] == b","
        at = _skip(data, at + more)
    at = _skip(data, _expect(data, at, b"}", where))
    if at < len(data):
        raise _not_json(where, at)


def piece_at(data: Bytes, piece: Piece, decoder: msgspec.json.Decoder[list[Any]]) -> Piece:
    """A piece of an array once more, with its text, decoded as something else."""
    text = data[piece.start : piece.end]
    try:
        found = _decode(b"[%b]" % text, decoder)
    except RecursionError:
        found, _, _ = _shallow_list(text + b"]", decoder)
    assert found is not None, "it was a list before"
    return piece._replace(text=found.text, records=found.records)


def _key(text: bytes, where: str, at: int) -> str:
    try:
        return msgspec.json.decode(standard(text).decode(errors="replace"), type=str)
    except msgspec.DecodeError as error:
        raise _not_json(where, at) from error


def _pieces(
    data: Bytes, key: str, at: int, decoder: msgspec.json.Decoder[list[Any]], size: int, where: str
) -> Iterator[tuple[int, Piece]]:
    """(where the next begins, piece) of an array whose bracket opened before `at`."""
    window, ended = size, False
    while not ended:
        text = data[at : at + window]
        try:
            found, length, used = _first_list(text, decoder)
        except RecursionError:
            found, length, used = _shallow_list(text, decoder)
        if found is not None and used:
            ended, window = found.end is not None, size
            piece = Piece(key, found.text, found.records, at, at + length)
            at = _skip(data, at + used)
            if not ended and length == used:  # the window ended just behind a record
                at += data[at : at + 1] == b","
            yield at, piece
        elif at + window >= len(data):
            raise _not_json(where, at)
        else:
            window *= 2  # not one whole record in it


def _first_list(text: bytes, decoder: msgspec.json.Decoder[list[Any]]) -> tuple[_List | None, int, int]:
    """(list of the whole records at the start of `text`, bytes of these, bytes used)."""
    for length, used in _cuts(text):
        found = _decode(b"".join((b"[", memoryview(text)[:length], b"]")), decoder)
        if found is None:
            continue
        if found.end is not None:  # less the bracket that was put before it; the array's own is used, too
            return found, found.end - 2, found.end - 1
        if used < len(text) or text.rstrip().endswith(b"}"):
            return found, length, used
    return None, 0, 0


def _shallow_list(text: bytes, decoder: msgspec.json.Decoder[list[Any]]) -> tuple[_List | None, int, int]:
    """As `_first_list`, of a text that is nested too deeply for its decoder."""
    some = shallow(text)
    found = _decode(b"[%b]" % standard(some.text), decoder)
    used = some.end + some.ended
    return found and found._replace(end=used if some.ended else None), some.end, used


def _cuts(text: bytes) -> Iterator[tuple[int, int]]:
    """(end of a record, begin of the next), the last first; then the whole text."""
    at = len(text)
    while (at := text.rfind(b"{", 0, at)) > 0:
        before = max(0, at - _SPACES)
        if found := _CUT.search(text[before:at]):
            yield before + found.start() + 1, at
    yield len(text), len(text)


def _decode(text: bytes, decoder: msgspec.json.Decoder[list[Any]]) -> _List | None:
    """The list that `text` begins with; None: no whole list.

    Raises:
        RecursionError: it is nested too deeply.
    """
    try:
        return _List(text, decoder.decode(text), None)
    except (msgspec.ValidationError, UnicodeDecodeError):  # the latter: in the name of a key
        found = _decode(text, RAWS)
        return found and found._replace(records=None)
    except msgspec.DecodeError as error:
        trailing = _TRAILING.search(str(error))
        if trailing is None:
            # A half of a character has msgspec look for the other six bytes on, which may be behind the end.
            cut = "truncated" in str(error) and not _HALF_AT_END.search(text[-12:])
            return None if cut else _decode_lenient(text, decoder)
        end = text.rindex(b"]", 0, int(trailing.group(1)) - 1) + 1
        found = _decode(text[:end], decoder)
        return found and found._replace(end=end)


def _decode_lenient(text: bytes, decoder: msgspec.json.Decoder[list[Any]]) -> _List | None:
    """As `_decode`, of what only some writers take for JSON."""
    latin = text.decode("latin-1")  # a character a byte: what is between the quotes does not matter here
    try:
        _, end = _JSON.raw_decode(latin)
    except ValueError:
        return None
    found = _decode(standard(text[:end]), decoder)
    return found and found._replace(end=None if end == len(text) else end)


def _end_of_value(data: Bytes, at: int, where: str) -> int:
    size = 2**16
    while True:
        latin = data[at : at + size].decode("latin-1")
        try:
            end = at + _JSON.raw_decode(latin)[1]
        except RecursionError:
            if end := shallow(data[at : at + size], one=True).end:
                return at + end
            if at + size >= len(data):
                raise _not_json(where, at) from None
        except ValueError as error:
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


def _not_json(where: str, at: int, because: str = "") -> FormatError:
    return FormatError(
        f"the annotation file is not JSON from byte {at} on{because}",
        where=where,
        expected="an object, as COCO writes it",
    )
