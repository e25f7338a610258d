"""A large COCO file in parts (pure): some annotations, the images they are on, all categories.

The file is decoded twice: once to know what it is, so that nothing is written of a file that is refused; and once more
as records, a part at a time. Of the first, ids and places of images stay in memory, and the ids that annotations name.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

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
from ingestion.formats.coco_images import ImageRecords, Rows, is_id
from ingestion.formats.coco_members import coco_members, left_out, require_categories
from ingestion.formats.json_records import no_gc, text
from ingestion.formats.text_ids import IdKinds, number
from ingestion.formats.windows import PIECE, RAWS, Bytes, Decoders, Piece, piece_at
from ingestion.records import Records
from lakesight.errors import FormatError


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


LISTED = msgspec.json.Decoder(list[_Listed])
BOXED = msgspec.json.Decoder(list[_Boxed])


@dataclass(frozen=True)
class Annotated:
    """A piece of `annotations`, without its text, and the images that it names."""

    piece: Piece
    images: Sequence[int]
    by_text: tuple[tuple[int | str, bool], ...] = ()
    """Image and whether the annotation's own id is a text, where one of them is."""


@dataclass
class Survey:
    """What a file says besides its annotations, and what these are."""

    images: ImageRecords
    annotations: list[Annotated] = field(default_factory=list)
    categories: list[msgspec.Raw] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flavour: Flavour = "instances"
    ids: IdKinds = field(default_factory=IdKinds)


def survey(data: Bytes, where: str, size: int, *, allow_orphans: bool) -> Survey:
    """All but the annotations; `size`: bytes of a part.

    Raises:
        FormatError: no COCO, annotations of images that the file does not list, or of several flavours.
    """
    rest, has_categories = Survey(ImageRecords(data)), False
    kinds: Counter[Flavour] = Counter()
    decoders: Decoders = {"images": LISTED, "annotations": BOXED, "categories": RAWS}
    with no_gc():
        for piece in coco_members(data, where, decoders, min(size, PIECE)):
            if piece.key in LISTS and piece.records and piece.key != "categories":
                rest.ids.numbers(piece.key)
            elif piece.key in LISTS:
                rest.ids.see(piece.key, map(bytes, RAWS.decode(piece.text)))
            if piece.key == "annotations":
                kinds += flavours_in(piece)
                rest.annotations.append(_annotated(piece))
            elif piece.key == "images":
                rest.images.add(piece)
            elif piece.key == "categories":
                has_categories = True
                rest.categories += [msgspec.Raw(bytes(raw)) for raw in piece.records or ()]
            else:
                rest.info[piece.key] = text(piece.text)
                rest.notes += left_out(piece)
    _settle_texts(rest)
    rest.flavour = one_flavour(kinds, where)
    require_categories(has_categories, rest.flavour, where)
    if not allow_orphans:
        _refuse_orphans(rest, where)
    return rest


def flavours_in(piece: Piece) -> Counter[Flavour]:
    """`flavours` of its records; where every record has a box, there is no need to look at each."""
    if piece.records is None:
        return flavours(RAWS.decode(piece.text))
    return +Counter[Flavour]({"instances": len(piece.records)})


def _refuse_orphans(rest: Survey, where: str) -> None:
    orphans = set().union(*(rest.images.missing(part.images) for part in rest.annotations))
    if orphans:
        raise FormatError(
            f"{len(orphans)} image(s) have annotations, and the file does not list them",
            where=f"{where}: image_id {', '.join(map(str, sorted(orphans)[:3]))}",
            expected="every `image_id` of `annotations` in `images`",
            fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
        )


def parts(data: Bytes, rest: Survey, where: str, size: int) -> Iterator[tuple[Records, int]]:
    """(records, bytes done), some `size` bytes of annotations at a time; the last has the images without any."""
    left = np.ones(len(rest.images), bool)
    end = 0
    for some in _grouped(rest.annotations, size):
        named = rest.images.rows(dict.fromkeys(image for one in some for image in one.images))
        end = some[-1].piece.end
        yield _part(data, rest, [one.piece for one in some], named, where), end
        left[named] = False
    if left.any() or not end:
        yield _part(data, rest, [], np.flatnonzero(left), where), len(data)


def file_names(rest: Survey) -> Iterator[str]:
    """Of the images that the file lists, as far as they state one."""
    for record in rest.images.json(range(len(rest.images))):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(record, type=_Named).file_name


def _grouped(annotations: Sequence[Annotated], size: int) -> Iterator[list[Annotated]]:
    some: list[Annotated] = []
    for one in annotations:
        if some and one.piece.end - some[0].piece.start > size:
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def _part(data: Bytes, rest: Survey, pieces: Sequence[Piece], images: Rows, where: str) -> Records:
    with no_gc():
        read = [read_piece(piece_at(data, piece, BOXES)) for piece in pieces]
        flavour, annotations = annotation_records(read, where, rest.ids.texts("annotations"), rest.flavour)
        raws = RAWS.decode(b"[%b]" % b",".join(rest.images.json(images.tolist())))
        categories = categories_of(rest.categories, rest.ids.texts("categories"))
        listed = images_of(raws, rest.ids.texts("images"))
        return Records(listed, annotations, categories, dict(rest.info), flavour, tuple(rest.notes))


def _annotated(piece: Piece) -> Annotated:
    """The image ids of annotations, without those of records whose ids are none: they go along."""
    bare = piece._replace(text=b"", records=None)
    if piece.records is not None:
        return Annotated(bare, _unique(one.image_id for one in piece.records))
    found = [one for raw in RAWS.decode(piece.text) if (one := _ids(bytes(raw)))]
    known = [one for one in found if is_id(one.image_id) and (is_id(one.id) or one.id is None)]
    by_text = [
        (one.image_id if isinstance(one.image_id, str) else int(one.image_id), isinstance(one.id, str))
        for one in found
        if str in map(type, (one.id, one.image_id)) and all(_may_be_id(i) for i in (one.id or 0, one.image_id))
    ]
    return Annotated(bare, _unique(int(one.image_id) for one in known), tuple(dict.fromkeys(by_text)))


def _unique(ids: Iterable[int]) -> Sequence[int]:
    found = dict.fromkeys(ids)
    try:
        return array("q", found)  # a fifth of a tuple of them
    except OverflowError:
        return tuple(found)


def _settle_texts(rest: Survey) -> None:
    """Put numbers for the texts that are ids; leave out the others, whose records are refused."""
    texts = rest.ids.texts("annotations")
    for place, one in enumerate(rest.annotations):
        if one.by_text:
            usable = [image for image, text in one.by_text if not text or "id" in texts]
            named = [_settled(image, "image_id" in texts) for image in usable]
            images = [*one.images, *(image for image in named if image is not None)]
            rest.annotations[place] = Annotated(one.piece, _unique(images))
    of_images = "id" in rest.ids.texts("images")
    rest.images.settle(lambda text: _settled(text, of_images))


def _settled(image: int | str, texts: bool) -> int | None:
    if isinstance(image, str):
        return number(image) if texts else None
    return image


def _ids(record: bytes) -> _Ids | None:
    try:
        return msgspec.json.decode(record, type=_Ids)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _may_be_id(value: Any) -> bool:
    return isinstance(value, str) or is_id(value)
