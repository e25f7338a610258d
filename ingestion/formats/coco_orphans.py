"""Annotations of images that a COCO file does not list: it is refused, and shown what stands in it (pure)."""

from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow.compute as pc

from ingestion.formats.coco_annotations import LISTS
from ingestion.formats.coco_members import coco_members
from ingestion.formats.coco_panoptic import SEGMENT_ID
from ingestion.formats.text_ids import TEXT_ID, number
from ingestion.formats.windows import RAWS, Bytes
from ingestion.records import Records
from lakesight.errors import FormatError


class _OfImage(msgspec.Struct):
    image_id: Any = None


def refuse_orphans(records: Records, data: Bytes, where: str) -> None:
    """Refuse a file that annotates images it does not list, by the ids that stand in it.

    Raises:
        FormatError: it does.
    """
    listed = pc.is_in(records.annotations["image_id"], value_set=records.images["image_id"].combine_chunks())
    orphan = pc.and_(pc.invert(listed), pc.is_valid(records.annotations["annotation_id"]))
    orphans = records.annotations.filter(orphan).select(["annotation_id", "image_id", "attributes"])
    if orphans.num_rows:
        some = orphans.slice(0, 3).to_pylist(maps_as_pydicts="strict")
        texts = _image_texts(data, where, {row["image_id"] for row in some})
        images = [texts.get(row["image_id"], row["image_id"]) for row in some]
        first = ", ".join(f"{_called(row, records.flavour)} of image {i}" for row, i in zip(some, images, strict=True))
        what = f"{orphans.num_rows} annotation(s) belong to images that the file does not list"
        raise has_orphans(what, f"{where}: {first}" + (", ..." if orphans.num_rows > 3 else ""))


def has_orphans(what: str, where: str) -> FormatError:
    """The refusal of a file for its orphans."""
    return FormatError(
        what,
        where=where,
        expected="every `image_id` of `annotations` in `images`",
        fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
    )


def _called(row: Mapping[str, Any], flavour: str) -> str:
    """An annotation, as its file calls it."""
    if flavour == "panoptic":
        return f"segment {row['attributes'][SEGMENT_ID]}"
    text = row["attributes"].get(TEXT_ID)
    id_ = ~row["annotation_id"] if flavour == "captions" else row["annotation_id"]
    return f"annotation {id_ if text is None else repr(text)}"


def _image_texts(data: Bytes, where: str, image_ids: Set[int]) -> dict[int, str]:
    """Of these ids, those that are texts in the file: they are not in the records, so that it is read once more."""
    found: dict[int, str] = {}
    for piece in coco_members(data, where, dict.fromkeys(LISTS, RAWS)):
        for raw in (piece.records or ()) if piece.key == "annotations" else ():
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                text = msgspec.json.decode(raw, type=_OfImage).image_id
                if isinstance(text, str) and (id_ := number(text)) is not None and id_ in image_ids:
                    found[id_] = repr(text)
    return found
