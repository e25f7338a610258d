"""The images that a large COCO file lists (pure): the id of each and where its record lies, but not the record.

Of a file of a million images that is 36 MB, where the records would be 250.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from ingestion.formats.windows import RAWS, Bytes, Piece

ImageId: TypeAlias = int | str | None
"""None: the record has no id, and is refused where it is read. A text, until it is known what it is."""
Rows: TypeAlias = npt.NDArray[np.int64]
_LEAST, _MOST = -(2**63), 2**63 - 1


class _Id(msgspec.Struct):
    id: Any = None


class ImageRecords:
    """Images are rows, in the order of the file."""

    def __init__(self, data: Bytes) -> None:
        """Of the file whose bytes are `data`; nothing seen yet."""
        self._data = data
        self._ids, self._starts, self._sizes = array("q"), array("q"), array("i")
        self._texts: dict[int, bytes] = {}
        """JSON of the rows that are not standard JSON in the file."""
        self._odd: dict[ImageId, list[int]] = {}
        """Rows whose id is not in `_ids`."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ids)

    def add(self, piece: Piece) -> None:
        """The images of a piece, decoded as records that have an `id`, or not at all."""
        raws = [bytes(raw) for raw in RAWS.decode(piece.text)]
        ids = map(_id_of, raws) if piece.records is None else (one.id for one in piece.records)
        lies_there = self._data[piece.start : piece.end] == piece.text[1:-1]
        at = 1
        for id_, raw in zip(ids, raws, strict=True):
            at = piece.text.index(raw, at)
            if not lies_there:
                self._texts[len(self)] = raw
            self._add(id_, piece.start + at - 1, len(raw))
            at += len(raw)

    def _add(self, id_: ImageId, start: int, size: int) -> None:
        plain = isinstance(id_, int) and _LEAST <= id_ <= _MOST
        if not plain:
            self._odd.setdefault(id_, []).append(len(self))
        self._ids.append(id_ if isinstance(id_, int) and plain else 0)
        self._starts.append(start)
        self._sizes.append(size)

    def settle(self, number: Callable[[str], int | None]) -> None:
        """Put the numbers for ids that are texts; None: it is no id."""
        for text in [key for key in self._odd if isinstance(key, str)]:
            self._odd.setdefault(number(text), []).extend(self._odd.pop(text))

    def rows(self, ids: Iterable[int]) -> Rows:
        """The images with these ids; of an id that comes again there are several, to be judged together."""
        wanted = list(ids)
        firsts, lasts = self._places(_plain(wanted))
        found = [self._by_id[1][first:last] for first, last in zip(firsts, lasts, strict=True)]
        odd = [row for id_ in wanted for row in self._odd.get(id_, ())]
        return np.concatenate([*found, np.array(odd, np.int64)])

    def missing(self, ids: Iterable[int]) -> set[int]:
        """Those of the ids that no image has."""
        wanted = list(ids)
        plain = _plain(wanted)
        firsts, lasts = self._places(plain)
        there = set(plain[lasts > firsts].tolist())
        return {id_ for id_ in wanted if id_ not in there and id_ not in self._odd}

    def _places(self, ids: Rows) -> tuple[Rows, Rows]:
        known = self._by_id[0]
        return np.searchsorted(known, ids, "left"), np.searchsorted(known, ids, "right")

    @cached_property
    def _by_id(self) -> tuple[Rows, Rows]:
        """(ids, ascending, rows), without the odd ones; all images have been added."""
        ids = np.array(self._ids, np.int64)
        plain = np.delete(np.arange(len(ids)), [row for rows in self._odd.values() for row in rows])
        order = plain[np.argsort(ids[plain], kind="stable")]
        return ids[order], order

    def json(self, rows: Iterable[int]) -> Iterator[bytes]:
        """The records of rows."""
        for row in rows:
            start = self._starts[row]
            yield self._texts[row] if row in self._texts else self._data[start : start + self._sizes[row]]


def _plain(ids: Iterable[int]) -> Rows:
    return np.array([id_ for id_ in ids if _LEAST <= id_ <= _MOST], np.int64)


def _id_of(image: bytes) -> ImageId:
    try:
        id_ = msgspec.json.decode(image, type=_Id).id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if isinstance(id_, str):
        return id_
    return int(id_) if is_id(id_) else None


def is_id(value: Any) -> bool:
    """Whether a value of JSON is a whole number, as pandas may have written it."""
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
