"""Ids of a COCO file that are texts (pure): UUIDs, as camera traps have, or numbers in quotes; pycocotools takes any.

Where no record of a file has a number under a key, texts there are ids: digits are the number that they say, any other
text stands for 52 bits of its sha256. So images and the annotations on them agree, in this file and in others, and the
text itself is kept. Beside numbers a text is a wrong record, as it may be anything.
"""

import re
from collections.abc import Iterable, Iterator, Set

import msgspec

from ingestion.identity import hashed

TEXT_ID = "text_id"
"""Further key of an image, annotation or category: its id, as the file has it."""
_KEYS = {"images": ("id",), "categories": ("id",), "annotations": ("id", "image_id", "category_id")}
_DIGITS = re.compile(r"-?[0-9]{1,19}")
NO_KEYS: frozenset[str] = frozenset()
"""Of records whose ids are numbers."""
_NO_IDS = ("", "NaN", "Infinity", "-Infinity")
"""The latter are what only some writers take for JSON; see `ingestion/formats/lenient.py`."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Stated(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()
    image_id: msgspec.Raw = msgspec.Raw()
    category_id: msgspec.Raw = msgspec.Raw()
    segments_info: msgspec.Raw = msgspec.Raw()


_SEGMENTS = msgspec.json.Decoder(list[_Stated])


class IdKinds:
    """Under which keys of a file ids are numbers, and under which texts."""

    def __init__(self) -> None:
        """Nothing seen."""
        self._numbers: set[tuple[str, str]] = set()
        self._texts: set[tuple[str, str]] = set()

    def numbers(self, name: str, keys: Iterable[str]) -> None:
        """A list has records in which the ids under these keys are numbers."""
        self._numbers.update((name, key) for key in keys)

    def see(self, name: str, records: Iterable[bytes]) -> None:
        """JSON of records of a list, which may be anything."""
        open_ = [key for key in _KEYS[name] if (name, key) not in self._numbers]
        for record in records if open_ else ():
            for key in open_:
                for value in _values(record, key):
                    kind = self._texts if value.startswith(b'"') else self._numbers
                    kind.update([(name, key)] if value[:1] in b'"-0123456789' else [])
            open_ = [key for key in open_ if (name, key) not in self._numbers]
            if not open_:
                break

    def texts(self, name: str) -> frozenset[str]:
        """The keys of a list's records whose texts are ids."""
        found = {key for key in _KEYS[name] if (name, key) in self._texts - self._numbers}
        named = {"image_id": ("images", "id"), "category_id": ("categories", "id")}
        of_named = {key for key, of in named.items() if key in _KEYS[name] and of in self._texts - self._numbers}
        return frozenset(found | of_named)


def _values(record: bytes, key: str) -> Iterator[bytes]:
    try:
        stated = msgspec.json.decode(record, type=_Stated)
        if value := bytes(getattr(stated, key)):
            yield value
        if key == "category_id" and (segments := bytes(stated.segments_info)):
            yield from (bytes(one.category_id) for one in _SEGMENTS.decode(segments) if bytes(one.category_id))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # it is refused where it is read
        return


def number(text: str) -> int | None:
    """The id that a text stands for; None: it is none."""
    if text in _NO_IDS:
        return None
    if _DIGITS.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return hashed(text)


def with_numbers(record: bytes, keys: Set[str]) -> bytes:
    """A record's JSON with the numbers that texts under `keys` stand for; as it is, if it is no object."""
    if not keys:
        return record
    try:
        fields = _FIELDS.decode(record)
        for key in keys:
            if (text := _text(fields.get(key))) is not None and (id_ := number(text)) is not None:
                fields[key] = msgspec.Raw(b"%d" % id_)
        return msgspec.json.encode(fields)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return record


def as_written(record: bytes, keys: Set[str]) -> dict[str, str]:
    """`TEXT_ID` of a record, if its id is a text that counts as one."""
    text = _text(_FIELDS.decode(record).get("id")) if "id" in keys else None
    return {} if text is None else {TEXT_ID: text}


def _text(value: msgspec.Raw | None) -> str | None:
    text = bytes(value or b"")
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else None
