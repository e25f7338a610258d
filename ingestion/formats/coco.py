"""COCO JSON of any flavour -> Arrow records (pure): `lakesight ingest coco`.

Which flavour a file is - instances, keypoints, captions, panoptic, image labels - its annotations say; see
`ingestion/formats/coco_annotations.py`. Images, categories and further keys are the same in all of them.
"""

from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.coco_annotations import BOXES, LISTS, Read, annotation_records, read_piece, see_ids
from ingestion.formats.coco_members import coco_members, left_out, require_categories
from ingestion.formats.json_records import (
    NULL,
    Int32,
    Int64,
    each,
    further,
    json_or_none,
    no_gc,
    records,
    text,
)
from ingestion.formats.text_ids import NO_KEYS, IdKinds, as_written
from ingestion.formats.windows import RAWS, Bytes, Decoders
from ingestion.records import CATEGORY_RECORDS, IMAGE_RECORDS, Records
from lakesight.errors import FormatError

DECODERS: Decoders = {"images": RAWS, "annotations": BOXES, "categories": RAWS}


class _Image(msgspec.Struct):
    id: Int64
    file_name: str
    width: Int32 | None = None
    height: Int32 | None = None
    date_captured: Any = None


class _Category(msgspec.Struct):
    id: Int64
    name: str
    supercategory: str | None = None
    keypoints: list[str] | None = None
    skeleton: msgspec.Raw = msgspec.Raw(NULL)


def parse(data: Bytes, where: str) -> Records:
    """The records of a COCO file in UTF-8; `where` names it in errors.

    Raises:
        FormatError: not JSON, not COCO, several flavours at once, or no record of a kind can be read.
    """
    lists: dict[str, list[msgspec.Raw]] = {}
    pieces: list[Read] = []
    info: dict[str, str] = {}
    notes: list[str] = []
    ids = IdKinds()
    with no_gc():
        for piece in coco_members(data, where, DECODERS):
            if piece.key == "annotations":
                pieces.append(read_piece(piece))
                see_ids(ids, pieces[-1])
            elif piece.key in LISTS:
                lists.setdefault(piece.key, []).extend(piece.records or ())
                ids.see(piece.key, map(bytes, piece.records or ()))
            else:
                info[piece.key] = text(piece.text)
                notes += left_out(piece)
        flavour, annotations = annotation_records(pieces, where, ids.texts("annotations"))
        require_categories("categories" in lists, flavour, where)
        images = images_of(lists.get("images", []), ids.texts("images"))
        categories = categories_of(lists.get("categories", []), ids.texts("categories"))
    found = Records(images, annotations, categories, info=info, flavour=flavour, notes=tuple(notes))
    _refuse_hopeless(found, where)
    return found


def images_of(raws: Sequence[msgspec.Raw], text_ids: Set[str] = NO_KEYS) -> pa.Table:
    """`IMAGE_RECORDS` of a COCO file's images; `text_ids`: keys whose texts are ids."""
    good, refused = each(raws, _Image, "image_record_valid", text_ids)
    found: list[_Image] = [row.record for row in good]
    columns = {
        "image_id": [r.id for r in found],
        "file_name": [r.file_name for r in found],
        "stated_width": [r.width for r in found],
        "stated_height": [r.height for r in found],
        "captured_at": [_time(r.date_captured) for r in found],
        # `date_captured` stays among the texts: what does not parse is kept, and what does comes back as written.
        "metadata": [
            further(row.raw, {"id", "file_name", "width", "height"}) | as_written(row.raw, text_ids) for row in good
        ],
        "ordinal": [row.ordinal for row in good],
        "record": [row.raw.decode() for row in good],
    }
    return records(IMAGE_RECORDS, columns, refused)


def categories_of(raws: Sequence[msgspec.Raw], text_ids: Set[str] = NO_KEYS) -> pa.Table:
    """`CATEGORY_RECORDS` of a COCO file's categories; `text_ids`: keys whose texts are ids."""
    good, refused = each(raws, _Category, "category_record_valid", text_ids)
    known = set(_Category.__struct_fields__)
    found: list[_Category] = [row.record for row in good]
    columns = {
        "category_id": [r.id for r in found],
        "name": [r.name for r in found],
        "supercategory": [r.supercategory for r in found],
        "keypoints": [r.keypoints for r in found],
        "skeleton": [json_or_none(r.skeleton) for r in found],
        "attributes": [further(row.raw, known) | as_written(row.raw, text_ids) for row in good],
        "ordinal": [row.ordinal for row in good],
        "record": [row.raw.decode() for row in good],
    }
    return records(CATEGORY_RECORDS, columns, refused)


def _time(stated: Any) -> datetime | None:
    if not isinstance(stated, str):
        return None
    try:
        parsed = datetime.fromisoformat(stated)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _refuse_hopeless(coco: Records, where: str) -> None:
    if coco.images.num_rows == 0:
        raise FormatError("the annotation file lists no images", where=where, expected="at least one in `images`")
    for name, table in (("images", coco.images), ("annotations", coco.annotations), ("categories", coco.categories)):
        reasons = table["refused_because"]
        if table.num_rows and reasons.null_count == 0:
            raise FormatError(
                f"no record of `{name}` is one of COCO {coco.flavour}; the first: {reasons[0].as_py()}",
                where=where,
                expected="COCO's keys and types, e.g. an integer `id`",
                fix="check --annotations",
            )
