"""What a large COCO file names, in SQLite: where images' records lie, and which images a piece's annotations are on.

The database is a file of its own among the system's temporary ones (`TMPDIR`), gone with the connection. A few MB of it
are in memory, whatever the size of the file that it is of.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Set
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa

from ingestion.formats.text_ids import number
from ingestion.formats.windows import RAWS, Bytes, Piece
from lakesight.errors import SetupError
from lakesight.tables import LONG

Id: TypeAlias = int | str | None
"""None: the record has no id, and is refused where it is read. A text, until it is known what it is."""
_LEAST, _MOST = -(2**63), 2**63 - 1
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -4000;
CREATE TABLE images (row INTEGER PRIMARY KEY, id, start INTEGER, size INTEGER, text BLOB);
CREATE TABLE named (
    piece INTEGER, image, by_text INTEGER, stated TEXT, PRIMARY KEY (piece, image, by_text)
) WITHOUT ROWID;
CREATE TABLE seen (id INTEGER PRIMARY KEY);
"""
"""`text`: JSON of a record that is not standard JSON in the file. `by_text`: the annotation's own id is a text.
`stated`: the text in the file that `image` is put for."""
_LISTED = "SELECT start, size, text FROM images"


class _Id(msgspec.Struct):
    id: Any = None


class CocoIndex(AbstractContextManager["CocoIndex"]):
    """Of one file, filled in its order."""

    def __init__(self, data: Bytes) -> None:
        """Of the file whose bytes are `data`; nothing seen yet."""
        self._data = data
        self._db = sqlite3.connect("")
        self._db.executescript(_TABLES)
        self._db.create_function("number", 1, number, deterministic=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the database.

        Raises:
            SetupError: it could not be written.
        """
        self._db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise SetupError(
                f"what the annotation file names cannot be kept: {error}",
                where="the system's temporary files",
                expected="room for 60 bytes an image and 20 an annotation",
                fix="make space there, or set TMPDIR to a folder that has it",
            ) from error

    def list_images(self, piece: Piece) -> None:
        """The images of a piece, decoded as records that have an `id`, or not at all."""
        raws = [bytes(raw) for raw in RAWS.decode(piece.text)]
        ids = map(_id_of, raws) if piece.records is None else (one.id for one in piece.records)
        lies_there = self._data[piece.start : piece.end] == piece.text[1:-1]
        rows, at = [], 1
        for id_, raw in zip(ids, raws, strict=True):
            at = piece.text.index(raw, at)
            rows.append((_value(id_), piece.start + at - 1, len(raw), None if lies_there else raw))
            at += len(raw)
        self._db.executemany("INSERT INTO images (id, start, size, text) VALUES (?, ?, ?, ?)", rows)

    def name_images(self, piece: int, images: Iterable[tuple[int | str, bool]]) -> None:
        """The images of a piece's annotations, and whether the annotation's own id is a text; they may come again."""
        rows = ((piece, _value(image), by_text) for image, by_text in images)
        self._db.executemany("INSERT OR IGNORE INTO named VALUES (?, ?, ?, NULL)", rows)

    def settle(self, of_images: Set[str], of_annotations: Set[str]) -> None:
        """All are there: put numbers for the texts that are ids, under these keys, and leave out the others."""
        if "id" not in of_images:
            self._db.execute("UPDATE images SET id = NULL WHERE typeof(id) = 'text'")
        if "id" not in of_annotations:
            self._db.execute("DELETE FROM named WHERE by_text")
        none = "number(image) IS NULL" if "image_id" in of_annotations else "TRUE"
        self._db.execute(f"DELETE FROM named WHERE typeof(image) = 'text' AND {none}")
        self._db.execute("UPDATE images SET id = number(id) WHERE typeof(id) = 'text'")
        renamed = "SET image = number(image), stated = image"
        self._db.execute(f"UPDATE OR REPLACE named {renamed} WHERE typeof(image) = 'text'")
        self._db.execute("CREATE INDEX images_by_id ON images (id)")

    def orphans(self, most: int) -> tuple[int, list[str]]:
        """How many images have annotations and are not listed, and `most` of their ids as the file has them."""
        unlisted = "FROM named WHERE image NOT IN (SELECT id FROM images WHERE id IS NOT NULL)"
        ((count,),) = self._db.execute(f"SELECT count(DISTINCT image) {unlisted}")
        some = self._db.execute(
            f"SELECT DISTINCT coalesce(stated, CAST(image AS TEXT)) {unlisted} ORDER BY image LIMIT ?", (most,)
        )
        return count, [text for (text,) in some]

    def images(self, first: int, last: int) -> list[bytes]:
        """JSON of the images that the pieces from `first` to `last` name; of an id that comes again, all of them."""
        named = "SELECT image FROM named WHERE piece BETWEEN ? AND ?"
        return list(self._json(f"{_LISTED} WHERE id IN ({named}) ORDER BY row", (first, last)))

    def others(self) -> Iterator[bytes]:
        """JSON of the images that no piece names, and of those without an id."""
        return self._json(f"{_LISTED} WHERE id IS NULL OR id NOT IN (SELECT image FROM named) ORDER BY row")

    def listed(self) -> Iterator[bytes]:
        """JSON of all images."""
        return self._json(f"{_LISTED} ORDER BY row")

    def _json(self, query: str, values: tuple[int, ...] = ()) -> Iterator[bytes]:
        for start, size, text in self._db.execute(query, values):
            yield self._data[start : start + size] if text is None else text

    def seen_before(self, ids: pa.ChunkedArray) -> pa.Array:
        """Those of the ids, int64, that an earlier call had."""
        text = msgspec.json.encode(ids.drop_null().to_pylist()).decode()
        mine = "(SELECT value FROM json_each(?))"
        again = self._db.execute(f"SELECT id FROM seen WHERE id IN {mine} ORDER BY id", (text,))
        found = pa.array([id_ for (id_,) in again], LONG)
        self._db.execute(f"INSERT OR IGNORE INTO seen {mine[1:-1]}", (text,))
        return found


def _value(id_: Id) -> int | str | bytes | None:
    """The id as SQLite can have it, whose numbers are of 64 bits."""
    if isinstance(id_, int) and not _LEAST <= id_ <= _MOST:
        return str(id_).encode()
    return id_


def _id_of(image: bytes) -> Id:
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
