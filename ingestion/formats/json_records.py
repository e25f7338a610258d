"""JSON records, one by one: what is typed, a row for each that is not, and their further keys as texts (pure)."""

import gc
import re
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
import pyarrow as pa

from ingestion.formats.broken import Broken
from ingestion.formats.shallow import DEEPEST, is_deep
from ingestion.formats.text_ids import NO_KEYS, with_numbers

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Crowd: TypeAlias = Int32 | bool | None
"""COCO says 0 or 1; some writers Python's bools, and pandas null where it was not stated."""
NULL = b"null"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WHOLE = re.compile(rb"(-?\d+)\.0+")


class Typed(NamedTuple):
    """(its place in the file, the record, its JSON)."""

    ordinal: int
    record: Any
    raw: bytes


Refused = list[dict[str, Any]]
"""Rows with `ordinal`, `record`, `refused_by`, `refused_because`; all other columns are NULL."""


@contextmanager
def no_gc() -> Iterator[None]:
    """No garbage collection: a million live objects make it most of the parsing time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def each(
    raws: Sequence[msgspec.Raw], kind: type, rule: str, text_ids: Set[str] = NO_KEYS
) -> tuple[list[Typed], Refused]:
    """What is a `kind`, and a row for each record that is not: it breaks `rule`.

    `text_ids`: keys whose texts are ids.
    """
    texts = [bytes(raw) for raw in raws]
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # at once: most files have no such record
        if not any(map(is_deep, texts)):
            whole = b"[%b]" % b",".join(with_numbers(text, text_ids) for text in texts)
            whole.decode()
            return [Typed(*row) for row in zip(count(), _decoder(list[kind]).decode(whole), texts)], []  # type: ignore[valid-type]
    return _one_by_one(texts, kind, rule, text_ids)


def _one_by_one(texts: Sequence[bytes], kind: type, rule: str, text_ids: Set[str]) -> tuple[list[Typed], Refused]:
    good: list[Typed] = []
    refused: Refused = []
    for ordinal, text in enumerate(texts):
        try:
            good.append(Typed(ordinal, _typed_text(text, kind, text_ids), text))
        except Broken as error:
            refused.append(refusal(ordinal, text, rule, str(error)))
    return good, refused


def _typed_text(raw: bytes, kind: type, text_ids: Set[str]) -> Any:
    if is_deep(raw):
        raise Broken(f"it is nested more than {DEEPEST} deep")
    try:
        raw.decode()
        return typed(with_numbers(raw, text_ids), kind)
    except UnicodeDecodeError as error:
        near = raw[max(error.start - 20, 0) : error.start + 12].decode(errors="backslashreplace")
        raise Broken(f"it has what is no text (UTF-8): {near}") from error
    except msgspec.MsgspecError as error:
        raise Broken(str(error)) from error


def typed(raw: bytes, kind: type) -> Any:
    """A record as a `kind`; whole numbers written as floats (`"id": 7.0`, as pandas does) count as integers.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    decoder = _decoder(kind)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        if not _WHOLE.search(raw):
            raise
    whole = {key: msgspec.Raw(_without_fraction(bytes(value))) for key, value in _FIELDS.decode(raw).items()}
    return decoder.decode(msgspec.json.encode(whole))


@cache
def _decoder(kind: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _without_fraction(value: bytes) -> bytes:
    whole = _WHOLE.fullmatch(value)
    return whole[1] if whole else value


def refusal(ordinal: int, raw: bytes, rule: str, why: str) -> dict[str, Any]:
    """The row of a record that cannot be used."""
    return {"ordinal": ordinal, "record": raw.decode(errors="replace"), "refused_by": rule, "refused_because": why}


def records(schema: pa.Schema, columns: dict[str, Any], refused: Refused) -> pa.Table:
    """Good records by column, those left out NULL, and then the refused ones.

    Raises:
        pa.ArrowInvalid: bytes of a text are no UTF-8.
    """
    rows = len(columns["ordinal"])
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    good = pa.table(arrays, schema=schema)
    return pa.concat_tables([good, pa.Table.from_pylist(refused, schema=schema)]) if refused else good


def json_or_none(raw: msgspec.Raw) -> bytes | None:
    """A JSON value as it is written, which Arrow takes for text if it is UTF-8; NULL for null."""
    found = bytes(raw)
    return None if found == NULL else found


def further(raw: bytes, known: set[str]) -> dict[str, str]:
    """The record's other keys, sorted, as texts."""
    fields = _FIELDS.decode(raw)
    return {key: text(bytes(fields[key])) for key in sorted(fields) if key not in known}


def text(raw: bytes) -> str:
    """A JSON value as text: strings as they are - unless they read as JSON themselves - and JSON for the rest.

    So `metadata['camera'] = 'gate'` can be asked plainly, and `value` gives back what was written.
    """
    if not raw.startswith(b'"'):
        return bytes(msgspec.json.format(raw, indent=-1)).decode()
    plain: str = msgspec.json.decode(raw, type=str)
    return raw.decode() if _is_json(plain) else plain


def value(text: str) -> msgspec.Raw:
    """The JSON of a `text`."""
    return msgspec.Raw(text.encode() if _is_json(text) else msgspec.json.encode(text))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
