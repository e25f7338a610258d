"""A large COCO file in parts (pure): some annotations, the images they are on, all categories.

The file is decoded twice: once to know what it is, so that nothing is written of a file that is refused; and once more
as records, a part at a time. What is known of the first is on disk (`ingestion/formats/coco_index.py`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from ingestion.formats.coco import categories_of, images_of
from ingestion.formats.coco_annotations import (
    BOXES,
    LISTS,
    Flavour,
    annotation_records,
    flavours,
    one_flavour,
    read_piece,
)
from ingestion.formats.coco_index import CocoIndex, is_id
from ingestion.formats.coco_members import coco_members, left_out, require_categories
from ingestion.formats.coco_orphans import has_orphans
from ingestion.formats.json_records import no_gc, text
from ingestion.formats.text_ids import IdKinds
from ingestion.formats.windows import PIECE, RAWS, Bytes, Decoders, Piece, piece_at
from ingestion.records import Records


class _Ids(msgspec.Struct):
    id: Any = None
    image_id: Any = None


class _Boxed(msgspec.Struct, gc=False):
    """A record with ids that is one of instances, whatever else it has."""

    image_id: int
    bbox: tuple[float, float, float, float]
    id: int | None = None
    category_id: int | None = None
    segments_info: None = None


class _Named(msgspec.Struct):
    file_name: str


class _Listed(msgspec.Struct, gc=False):
    id: int


ID_KEYS = ("id", "image_id", "category_id")
LISTED = msgspec.json.Decoder(list[_Listed])
BOXED = msgspec.json.Decoder(list[_Boxed])


@dataclass
class Survey:
    """What a file says besides its annotations, and what these are."""

    index: CocoIndex
    annotations: list[Piece] = field(default_factory=list)
    """Without their text."""
    categories: list[msgspec.Raw] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flavour: Flavour = "instances"
    ids: IdKinds = field(default_factory=IdKinds)


@contextmanager
def survey(data: Bytes, where: str, size: int, *, allow_orphans: bool) -> Iterator[Survey]:
    """All but the annotations; `size`: bytes of a part.

    Raises:
        FormatError: no COCO, annotations of images that the file does not list, or of several flavours.
    """
    with CocoIndex(data) as index:
        found = Survey(index)
        with no_gc():
            _look_through(found, data, where, min(size, PIECE))
        index.settle(found.ids.texts("images"), found.ids.texts("annotations"))
        if not allow_orphans:
            _refuse_orphans(index, where)
        yield found


def _look_through(found: Survey, data: Bytes, where: str, size: int) -> None:
    kinds: Counter[Flavour] = Counter()
    has_categories = False
    decoders: Decoders = {"images": LISTED, "annotations": BOXED, "categories": RAWS}
    for piece in coco_members(data, where, decoders, size):
        if piece.key in LISTS and piece.records and piece.key != "categories":
            found.ids.numbers(piece.key, _with_numbers(piece.records))
        elif piece.key in LISTS:
            found.ids.see(piece.key, map(bytes, RAWS.decode(piece.text)))
        if piece.key == "annotations":
            kinds += flavours_in(piece)
            found.index.name_images(len(found.annotations), _images_of(piece))
            found.annotations.append(piece._replace(text=b"", records=None))
        elif piece.key == "images":
            found.index.list_images(piece)
        elif piece.key == "categories":
            has_categories = True
            found.categories += [msgspec.Raw(bytes(raw)) for raw in piece.records or ()]
        else:
            found.info[piece.key] = text(piece.text)
            found.notes += left_out(piece)
    found.flavour = one_flavour(kinds, where)
    require_categories(has_categories, found.flavour, where)


def _with_numbers(records: Sequence[_Listed | _Boxed]) -> list[str]:
    """The keys under which they have ids, which are numbers then."""
    return [key for key in ID_KEYS if any(getattr(one, key, None) is not None for one in records)]


def flavours_in(piece: Piece) -> Counter[Flavour]:
    """`flavours` of its records; where every record has a box, there is no need to look at each."""
    if piece.records is None:
        return flavours(RAWS.decode(piece.text))
    return +Counter[Flavour]({"instances": len(piece.records)})


def _refuse_orphans(index: CocoIndex, where: str) -> None:
    count, some = index.orphans(3)
    if count:
        what = f"{count} image(s) have annotations, and the file does not list them"
        raise has_orphans(what, f"{where}: image_id {', '.join(some)}" + (", ..." if count > len(some) else ""))


def parts(data: Bytes, rest: Survey, where: str, size: int) -> Iterator[tuple[Records, int]]:
    """(records, bytes done), some `size` bytes of annotations at a time; then images without any, as much of them."""
    first = 0
    for some in _grouped(rest.annotations, size):
        images = rest.index.images(first, first + len(some) - 1)
        first += len(some)
        yield _part(data, rest, some, images, where), some[-1].end
    others = _gathered(rest.index.others(), size)
    for images in others if first else chain([next(others, [])], others):  # a file has one part at least
        yield _part(data, rest, [], images, where), len(data)


def file_names(rest: Survey) -> Iterator[str]:
    """Of the images that the file lists, as far as they state one."""
    for record in rest.index.listed():
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(record, type=_Named).file_name


def _grouped(annotations: Sequence[Piece], size: int) -> Iterator[list[Piece]]:
    some: list[Piece] = []
    for piece in annotations:
        if some and piece.end - some[0].start > size:
            yield some
            some = []
        some.append(piece)
    if some:
        yield some


def _gathered(records: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    held = 0
    for record in records:
        if some and held + len(record) > size:
            yield some
            some, held = [], 0
        some.append(record)
        held += len(record)
    if some:
        yield some


def _part(data: Bytes, rest: Survey, pieces: Sequence[Piece], images: Sequence[bytes], where: str) -> Records:
    with no_gc():
        read = [read_piece(piece_at(data, piece, BOXES)) for piece in pieces]
        flavour, annotations = annotation_records(read, where, rest.ids.texts("annotations"), rest.flavour)
        listed = images_of([msgspec.Raw(image) for image in images], rest.ids.texts("images"))
        categories = categories_of(rest.categories, rest.ids.texts("categories"))
        return Records(listed, annotations, categories, dict(rest.info), flavour, tuple(rest.notes))


def _images_of(piece: Piece) -> Iterator[tuple[int | str, bool]]:
    """The image ids of annotations, and whether their own is a text; records whose ids are none go along without."""
    if piece.records is not None:
        yield from ((image, False) for image in {one.image_id for one in piece.records})
        return
    for one in filter(None, map(_ids, map(bytes, RAWS.decode(piece.text)))):
        if _may_be_id(one.image_id) and (one.id is None or _may_be_id(one.id)):
            image = one.image_id if isinstance(one.image_id, str) else int(one.image_id)
            yield image, isinstance(one.id, str)


def _ids(record: bytes) -> _Ids | None:
    try:
        return msgspec.json.decode(record, type=_Ids)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _may_be_id(value: Any) -> bool:
    return isinstance(value, str) or is_id(value)
