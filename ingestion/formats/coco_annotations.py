"""`annotations` of a COCO file -> `ANNOTATION_RECORDS`, by the file's flavour (pure).

Boxes are decoded once with types. Only where that fails - an unknown key, a record of the wrong shape, another
flavour - does a slower path look at each record, so one bad record is one refused record and not a refused file.
Segmentation stays the JSON it is: nothing here needs its numbers, and they are most of the file.

What is about the whole image - captions, labels - has no box. COCO numbers captions apart from boxes, so that their
ids would meet in one table: a caption is kept under `~id`, which is `-1 - id`, and goes back by the same sum.
A panoptic file has an annotation an image; each of its segments becomes one here, its mask still in the PNG.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import msgspec
import pyarrow as pa

from ingestion.formats.json_records import (
    NULL,
    Int32,
    Int64,
    Typed,
    each,
    further,
    json_or_none,
    records,
    refusal,
    typed,
)
from ingestion.records import ANNOTATION_RECORDS
from lakesight.errors import FormatError

Flavour = Literal["instances", "captions", "panoptic", "labels"]
FORMATS = {"instances": "coco", "captions": "coco_captions", "panoptic": "coco_panoptic", "labels": "coco_labels"}
"""What `sources.format` calls the flavours; keypoints files are instances with some keys more."""
LISTS = ("images", "annotations", "categories")
SEGMENT_ID, PANOPTIC = "segment_id", "panoptic"
"""Attributes of a segment: its colour in the PNG as a number, and the keys of the annotation it came in, as JSON."""
RULE = "annotation_record_valid"


class _Box(msgspec.Struct):
    id: Int64
    image_id: Int64
    category_id: Int64 | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: Int32 = 0
    segmentation: msgspec.Raw = msgspec.Raw(NULL)
    keypoints: list[float] | None = None
    num_keypoints: Int32 | None = None


class _StrictBox(_Box, forbid_unknown_fields=True):
    """COCO's own keys and no other: what the fast path takes."""


class _Caption(msgspec.Struct):
    id: Int64
    image_id: Int64
    caption: str


class _Panoptic(msgspec.Struct):
    image_id: Int64
    file_name: str
    segments_info: list[msgspec.Raw]


class _Segment(msgspec.Struct):
    id: Int32
    category_id: Int64
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: Int32 = 0


class _Keys(msgspec.Struct):
    """The keys that tell the flavours apart; empty where a record has not got them."""

    bbox: msgspec.Raw = msgspec.Raw()
    area: msgspec.Raw = msgspec.Raw()
    segmentation: msgspec.Raw = msgspec.Raw()
    keypoints: msgspec.Raw = msgspec.Raw()
    caption: msgspec.Raw = msgspec.Raw()
    segments_info: msgspec.Raw = msgspec.Raw()


def annotation_records(raw: msgspec.Raw, where: str, flavour: Flavour | None = None) -> tuple[Flavour, pa.Table]:
    """The flavour of `annotations` and their records; `flavour`: of the whole file, where these are a part of it.

    Raises:
        FormatError: they are of several flavours.
        msgspec.ValidationError: it is no list.
    """
    strict = _strict_boxes(raw) if flavour in (None, "instances", "labels") else None
    if strict is not None:
        labels = flavour == "labels" if flavour else bool(strict) and all(_is_label(box) for box in strict)
        with suppress(UnicodeDecodeError):  # in a segmentation, which was not looked at yet
            columns = _box_columns(strict, range(len(strict)), None, labels)
            return "labels" if labels else "instances", records(ANNOTATION_RECORDS, columns, [])
    raws = msgspec.json.decode(raw, type=list[msgspec.Raw])
    flavour = flavour or one_flavour(flavours(raws), where)
    return flavour, _READERS[flavour](raws)


def _strict_boxes(raw: msgspec.Raw) -> list[_StrictBox] | None:
    try:
        return msgspec.json.decode(raw, type=list[_StrictBox])
    except (msgspec.DecodeError, UnicodeDecodeError):  # ValidationError is one; the other: in the name of a key
        return None


def _is_label(box: _Box) -> bool:
    return box.bbox is None and box.area is None and box.keypoints is None and bytes(box.segmentation) == NULL


class _Boxed(msgspec.Struct, gc=False):
    """What makes a record one of instances, whatever else it has."""

    bbox: tuple[float, float, float, float]
    segments_info: None = None


def flavours_in(annotations: bytes) -> Counter[Flavour]:
    """`flavours` of a list as JSON; where every record has a box, there is no need to look at each."""
    try:
        return +Counter[Flavour]({"instances": len(msgspec.json.decode(annotations, type=list[_Boxed]))})
    except msgspec.ValidationError:
        return flavours(msgspec.json.decode(annotations, type=list[msgspec.Raw]))


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
    except msgspec.DecodeError:
        return None
    if bytes(keys.segments_info) not in (b"", NULL):
        return "panoptic"
    if any(bytes(key) not in (b"", NULL) for key in (keys.bbox, keys.area, keys.segmentation, keys.keypoints)):
        return "instances"
    return "captions" if bytes(keys.caption) else "labels"


def _boxes(raws: Sequence[msgspec.Raw], whole_image: bool = False) -> pa.Table:
    good, refused = each(raws, _Box, RULE)
    known = set(_Box.__struct_fields__)
    others = [further(row.raw, known) for row in good]
    columns = _box_columns([row.record for row in good], [row.ordinal for row in good], others, whole_image)
    return records(ANNOTATION_RECORDS, columns, refused)


def _labels(raws: Sequence[msgspec.Raw]) -> pa.Table:
    return _boxes(raws, whole_image=True)


def _box_columns(
    found: Sequence[_Box], ordinals: Sequence[int], others: list[dict[str, str]] | None, whole_image: bool
) -> dict[str, Any]:
    return {
        "annotation_id": [r.id for r in found],
        "image_id": [r.image_id for r in found],
        "category_id": [r.category_id for r in found],
        "bbox": [r.bbox for r in found],
        "area": [r.area for r in found],
        "iscrowd": [r.iscrowd for r in found],
        "segmentation": [json_or_none(r.segmentation) for r in found],
        "keypoints": [r.keypoints for r in found],
        "num_keypoints": [r.num_keypoints for r in found],
        "attributes": [{}] * len(found) if others is None else others,
        "image_level": [whole_image] * len(found),
        "ordinal": ordinals,
    }


def _captions(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = each(raws, _Caption, RULE)
    found: list[_Caption] = [row.record for row in good]
    columns = {
        "annotation_id": [~r.id for r in found],
        "image_id": [r.image_id for r in found],
        # With `caption` itself; and with the `category_id: 0` that some tools write, which means no class.
        "attributes": [further(row.raw, {"id", "image_id"}) for row in good],
        "image_level": [True] * len(found),
        "ordinal": [row.ordinal for row in good],
        "record": [row.raw.decode() for row in good],
    }
    return records(ANNOTATION_RECORDS, columns, refused)


def _panoptic(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = each(raws, _Panoptic, RULE)
    refused = [row | {"ordinal": -1 - row["ordinal"]} for row in refused]  # segments are counted, not annotations
    segments: list[tuple[_Panoptic, Typed, str]] = []
    place = 0
    for annotation in good:
        shared = _shared(annotation.raw)
        for raw in annotation.record.segments_info:
            try:
                segment = Typed(place, typed(bytes(raw), _Segment), bytes(raw))
                segments.append((annotation.record, segment, shared))
            except msgspec.MsgspecError as error:
                refused.append(refusal(place, bytes(raw), RULE, str(error)))
            place += 1
    return records(ANNOTATION_RECORDS, _segment_columns(segments), refused)


def _shared(raw: bytes) -> str:
    """The annotation's own keys, `file_name` among them, as JSON."""
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({k: v for k, v in fields.items() if k not in ("image_id", "segments_info")}).decode()


def _segment_columns(segments: Sequence[tuple[_Panoptic, Typed, str]]) -> dict[str, Any]:
    found: list[_Segment] = [segment.record for _, segment, _ in segments]
    known = set(_Segment.__struct_fields__)
    return {
        "annotation_id": [segment_annotation_id(a.image_id, s.record.id) for a, s, _ in segments],
        "image_id": [annotation.image_id for annotation, _, _ in segments],
        "category_id": [r.category_id for r in found],
        "bbox": [r.bbox for r in found],
        "area": [r.area for r in found],
        "iscrowd": [r.iscrowd for r in found],
        "attributes": [
            {**further(s.raw, known), SEGMENT_ID: str(s.record.id), PANOPTIC: shared} for _, s, shared in segments
        ],
        "ordinal": [segment.ordinal for _, segment, _ in segments],
        "record": [segment.raw.decode() for _, segment, _ in segments],
    }


def segment_annotation_id(image_id: int, segment_id: int) -> int:
    """63 bits of sha256: segments are numbered within their image only, and the same one keeps its id."""
    digest = hashlib.sha256(f"panoptic\n{image_id}\n{segment_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


_READERS = {"instances": _boxes, "captions": _captions, "panoptic": _panoptic, "labels": _labels}
