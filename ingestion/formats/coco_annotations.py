"""`annotations` of a COCO file -> `ANNOTATION_RECORDS`, by the file's flavour (pure).

Boxes are decoded once with types. Only where that fails - an unknown key, a record of the wrong shape, another
flavour - does a slower path look at each record, so one bad record is one refused record and not a refused file.
Segmentation stays the JSON it is: nothing here needs its numbers, and they are most of the file.

What is about the whole image - captions, labels - has no box. COCO numbers captions apart from boxes, so that their
ids would meet in one table: a caption is kept under `~id`, which is `-1 - id`, and goes back by the same sum.
Panoptic ones are in `ingestion/formats/coco_panoptic.py`.
"""

from collections import Counter
from collections.abc import Sequence, Set
from contextlib import suppress
from itertools import accumulate
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.coco_panoptic import panoptic_segments
from ingestion.formats.json_records import NULL, Crowd, Int32, Int64, each, further, json_or_none, records
from ingestion.formats.text_ids import NO_KEYS, IdKinds, as_written
from ingestion.formats.windows import RAWS, Piece
from ingestion.records import ANNOTATION_RECORDS, ANNOTATION_RULE
from lakesight.errors import FormatError

Flavour = Literal["instances", "captions", "panoptic", "labels"]
FORMATS = {"instances": "coco", "captions": "coco_captions", "panoptic": "coco_panoptic", "labels": "coco_labels"}
"""What `sources.format` calls the flavours; keypoints files are instances with some keys more."""
LISTS = ("images", "annotations", "categories")


class _Box(msgspec.Struct, gc=False):
    id: Int64
    image_id: Int64
    category_id: Int64 | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: Crowd = 0
    segmentation: msgspec.Raw = msgspec.Raw(NULL)
    keypoints: list[float] | None = None
    num_keypoints: Int32 | None = None


class _StrictBox(_Box, forbid_unknown_fields=True):
    """COCO's own keys and no other: what the fast path takes."""


class _Caption(msgspec.Struct):
    id: Int64
    image_id: Int64
    caption: str


class _Keys(msgspec.Struct):
    """The keys that tell the flavours apart; empty where a record has not got them."""

    bbox: msgspec.Raw = msgspec.Raw()
    area: msgspec.Raw = msgspec.Raw()
    segmentation: msgspec.Raw = msgspec.Raw()
    keypoints: msgspec.Raw = msgspec.Raw()
    category_id: msgspec.Raw = msgspec.Raw()
    caption: msgspec.Raw = msgspec.Raw()
    segments_info: msgspec.Raw = msgspec.Raw()


BOXES = msgspec.json.Decoder(list[_StrictBox])
Read: TypeAlias = pa.Table | bytes
"""A piece of `annotations`: `ANNOTATION_RECORDS` of boxes, or the JSON of records to be looked at one by one."""


def read_piece(piece: Piece) -> Read:
    """What can be said of a piece, decoded by `BOXES`, before the flavour of the file is known.

    Records without a box fit, too, but may be of any flavour.
    """
    if piece.records is not None and any(record.bbox is not None for record in piece.records):
        with suppress(pa.ArrowInvalid):  # no UTF-8 in a segmentation, which was not looked at yet
            columns = _box_columns(piece.records, np.arange(len(piece.records)), None, whole_image=False)
            return records(ANNOTATION_RECORDS, columns, [])
    return piece.text


def see_ids(ids: IdKinds, piece: Read) -> None:
    """Add what a piece says of the file's ids; those of boxes that were decoded are numbers."""
    if isinstance(piece, bytes):
        ids.see("annotations", map(bytes, RAWS.decode(piece)))
    else:
        columns = {"id": "annotation_id", "image_id": "image_id", "category_id": "category_id"}
        ids.numbers("annotations", [key for key, name in columns.items() if piece[name].null_count < piece.num_rows])


def annotation_records(
    pieces: Sequence[Read], where: str, text_ids: Set[str] = NO_KEYS, flavour: Flavour | None = None
) -> tuple[Flavour, pa.Table]:
    """The flavour of `annotations` and their records; `flavour`: of the whole file, where these are a part of it.

    `text_ids`: keys whose texts are ids.

    Raises:
        FormatError: they are of several flavours.
    """
    flavour = flavour or one_flavour(sum(map(_flavours_of, pieces), Counter()), where)
    tables = [_table(piece, flavour, text_ids) for piece in pieces]
    starts = accumulate((table.num_rows for table in tables), initial=0)
    placed = [_placed(table, start) for table, start in zip(tables, starts, strict=False)]
    return flavour, pa.concat_tables([ANNOTATION_RECORDS.empty_table(), *placed])


def _flavours_of(piece: Read) -> Counter[Flavour]:
    if isinstance(piece, bytes):
        return flavours(RAWS.decode(piece))
    label = pc.is_null(piece["bbox"])
    for column in ("area", "keypoints", "segmentation"):
        label = pc.and_(label, pc.is_null(piece[column]))
    boxes = piece.num_rows - (pc.sum(label).as_py() or 0)
    labels = pc.sum(pc.and_(label, pc.is_valid(piece["category_id"]))).as_py() or 0
    return +Counter[Flavour]({"instances": boxes, "labels": labels})


def _table(piece: Read, flavour: Flavour, text_ids: Set[str]) -> pa.Table:
    if isinstance(piece, bytes):
        return _READERS[flavour](RAWS.decode(piece), text_ids)
    if flavour != "labels":
        return piece
    return _with(piece, "image_level", pa.repeat(True, piece.num_rows))


def _placed(records: pa.Table, start: int) -> pa.Table:
    """`ordinal` counts through the whole list, in the order it has in a piece."""
    within = records["ordinal"].to_numpy()
    places = np.empty(len(within), np.int64)
    places[np.argsort(within, kind="stable")] = np.arange(start, start + len(within))
    return _with(records, "ordinal", pa.array(places))


def _with(records: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return records.set_column(records.schema.get_field_index(name), name, values)


def flavours(raws: Sequence[msgspec.Raw]) -> Counter[Flavour]:
    """How many records look like which flavour."""
    return Counter(kind for raw in raws if (kind := _flavour_of(raw)))


def one_flavour(found: Counter[Flavour], where: str) -> Flavour:
    """The flavour of a file with such records.

    Raises:
        FormatError: there are several.
    """
    if set(found) == {"instances", "labels"}:  # boxes, some of which have lost theirs
        return "instances"
    if len(found) > 1:
        counts = ", ".join(f"{count} of {kind}" for kind, count in found.most_common())
        raise FormatError(
            "the annotation file mixes flavours of COCO",
            where=f"{where}: `annotations` has {counts}",
            expected="boxes, captions, panoptic segments or image labels, one flavour a file",
            fix="split the file and ingest the parts one after the other, into the same --dataset",
        )
    return next(iter(found), "instances")


def _flavour_of(raw: msgspec.Raw) -> Flavour | None:
    try:
        keys = msgspec.json.decode(raw, type=_Keys)
    except (msgspec.DecodeError, RecursionError):
        return None
    if bytes(keys.segments_info) not in (b"", NULL):
        return "panoptic"
    if any(bytes(key) not in (b"", NULL) for key in (keys.bbox, keys.area, keys.segmentation, keys.keypoints)):
        return "instances"
    if bytes(keys.caption):
        return "captions"
    return "labels" if bytes(keys.category_id) not in (b"", NULL) else None  # one that has lost what told its flavour


def _boxes(raws: Sequence[msgspec.Raw], text_ids: Set[str], whole_image: bool = False) -> pa.Table:
    good, refused = each(raws, _Box, ANNOTATION_RULE, text_ids)
    known = set(_Box.__struct_fields__)
    others = [further(row.raw, known) | as_written(row.raw, text_ids) for row in good]
    columns = _box_columns([row.record for row in good], [row.ordinal for row in good], others, whole_image)
    return records(ANNOTATION_RECORDS, columns, refused)


def _labels(raws: Sequence[msgspec.Raw], text_ids: Set[str]) -> pa.Table:
    return _boxes(raws, text_ids, whole_image=True)


def _box_columns(
    found: Sequence[_Box], ordinals: Any, others: list[dict[str, str]] | None, whole_image: bool
) -> dict[str, Any]:
    return {
        "annotation_id": [r.id for r in found],
        "image_id": [r.image_id for r in found],
        "category_id": [r.category_id for r in found],
        "bbox": [r.bbox for r in found],
        "area": [r.area for r in found],
        "iscrowd": [int(r.iscrowd or 0) for r in found],
        "segmentation": [json_or_none(r.segmentation) for r in found],
        "keypoints": [r.keypoints for r in found],
        "num_keypoints": [r.num_keypoints for r in found],
        "attributes": [{}] * len(found) if others is None else others,
        "image_level": [whole_image] * len(found),
        "ordinal": ordinals,
    }


def _captions(raws: Sequence[msgspec.Raw], text_ids: Set[str]) -> pa.Table:
    good, refused = each(raws, _Caption, ANNOTATION_RULE, text_ids)
    found: list[_Caption] = [row.record for row in good]
    columns = {
        "annotation_id": [~r.id for r in found],
        "image_id": [r.image_id for r in found],
        # With `caption` itself; and with the `category_id: 0` that some tools write, which means no class.
        "attributes": [further(row.raw, {"id", "image_id"}) | as_written(row.raw, text_ids) for row in good],
        "image_level": [True] * len(found),
        "ordinal": [row.ordinal for row in good],
        "record": [row.raw.decode() for row in good],
    }
    return records(ANNOTATION_RECORDS, columns, refused)


_READERS = {"instances": _boxes, "captions": _captions, "panoptic": panoptic_segments, "labels": _labels}
