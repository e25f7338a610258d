"""`annotations` of a panoptic COCO file -> `ANNOTATION_RECORDS` (pure).

The file has an annotation an image; each of its segments becomes one here, its mask still in the PNG.
"""

import hashlib
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.json_records import Crowd, Int32, Int64, Typed, each, further, records, refusal, typed
from ingestion.formats.text_ids import with_numbers
from ingestion.records import ANNOTATION_RECORDS, ANNOTATION_RULE

SEGMENT_ID, PANOPTIC = "segment_id", "panoptic"
"""Attributes of a segment: its colour in the PNG as a number, and the keys of the annotation it came in, as JSON."""


class _Panoptic(msgspec.Struct):
    image_id: Int64
    file_name: str
    segments_info: list[msgspec.Raw]


class _Segment(msgspec.Struct):
    id: Int32
    category_id: Int64
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: Crowd = 0


def panoptic_segments(raws: Sequence[msgspec.Raw], text_ids: Set[str]) -> pa.Table:
    """`ANNOTATION_RECORDS` of the segments of such annotations; `text_ids`: keys whose texts are ids."""
    good, refused = each(raws, _Panoptic, ANNOTATION_RULE, text_ids & {"image_id"})
    refused = [row | {"ordinal": -1 - row["ordinal"]} for row in refused]  # segments are counted, not annotations
    segments: list[tuple[_Panoptic, Typed, str]] = []
    place = 0
    for annotation in good:
        shared = _shared(annotation.raw)
        for raw in annotation.record.segments_info:
            try:
                numbered = with_numbers(bytes(raw), text_ids & {"category_id"})
                segment = Typed(place, typed(numbered, _Segment), bytes(raw))
                segments.append((annotation.record, segment, shared))
            except msgspec.MsgspecError as error:
                refused.append(refusal(place, _on_image(annotation.record, raw), ANNOTATION_RULE, str(error)))
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
        "iscrowd": [int(r.iscrowd or 0) for r in found],
        "attributes": [
            {**further(s.raw, known), SEGMENT_ID: str(s.record.id), PANOPTIC: shared} for _, s, shared in segments
        ],
        "ordinal": [segment.ordinal for _, segment, _ in segments],
        "record": [_on_image(annotation, segment.raw).decode() for annotation, segment, _ in segments],
    }


def _on_image(annotation: _Panoptic, segment: bytes) -> bytes:
    """A segment's JSON with its image: that of another image may be the same but for that."""
    with suppress(msgspec.MsgspecError):
        fields = msgspec.json.decode(segment, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({"image_id": annotation.image_id, **fields})
    return b"[%d, %b]" % (annotation.image_id, segment)


def segment_annotation_id(image_id: int, segment_id: int) -> int:
    """63 bits of sha256: segments are numbered within their image only, and the same one keeps its id."""
    digest = hashlib.sha256(f"panoptic\n{image_id}\n{segment_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
