"""COCO JSON of any flavour -> Arrow records (pure): `lakesight ingest coco`.

Which flavour a file is - instances, keypoints, captions, panoptic, image labels - its annotations say; see
`ingestion/formats/coco_annotations.py`. Images, categories and further keys are the same in all of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.coco_annotations import LISTS, Flavour, annotation_records
from ingestion.formats.json_records import (
    NULL,
    Int32,
    Int64,
    each,
    further,
    json_or_none,
    no_gc,
    records,
)
from ingestion.formats.lenient import in_utf8, standard
from ingestion.records import CATEGORY_RECORDS, IMAGE_RECORDS, Records
from lakesight.errors import FormatError

EXPECTED = "an object with the lists `images`, `annotations` and `categories`"


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: msgspec.Raw
    categories: list[msgspec.Raw] | None = None


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


def parse(data: bytes, where: str, flavour: Flavour | None = None) -> Records:
    """The records of a COCO file; `where` names it in errors.

    `flavour`: of the whole file, where `data` is a part of one: what a part has not is no reason to refuse it.

    Raises:
        FormatError: not JSON, not COCO, several flavours at once, or no record of a kind can be read.
    """
    with no_gc():
        file, data = _open(data, where)
        try:
            kind, annotations = annotation_records(file.annotations, where, flavour)
        except msgspec.ValidationError as error:
            raise _no_coco(data, f"{error} - at `$.annotations`", where) from error
        if file.categories is None and kind != "captions":
            raise _no_coco(data, "Object missing required field `categories`", where)
        found = Records(
            _images(file.images),
            annotations,
            _categories(file.categories or []),
            info=_info(data),
            flavour=kind,
        )
    if flavour is None:
        _refuse_hopeless(found, where)
    return found


def _open(data: bytes, where: str) -> tuple[_File, bytes]:
    """The file, and the bytes it was read from: without a byte order mark, and JSON."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=_File), data
    except msgspec.ValidationError as error:
        raise _no_coco(data, str(error), where) from error
    except RecursionError as error:
        raise _no_json(error, where) from error
    except msgspec.DecodeError:
        data = standard(in_utf8(data))
    try:
        return msgspec.json.decode(data, type=_File), data
    except msgspec.ValidationError as error:
        raise _no_coco(data, str(error), where) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _no_json(error, where) from error


def _info(data: bytes) -> dict[str, str]:
    """The file's other keys; they are no record that could be refused, so what is no text in them is replaced."""
    try:
        return further(data, set(LISTS))
    except UnicodeDecodeError:
        return further(data.decode(errors="replace").encode(), set(LISTS))


def _no_json(error: Exception, where: str) -> FormatError:
    return FormatError(f"the annotation file is not JSON: {error}", where=where, expected="a COCO file")


def _no_coco(data: bytes, why: str, where: str) -> FormatError:
    is_list = data.lstrip()[:1] == b"["
    return FormatError(
        f"the annotation file is JSON but not COCO: {why}",
        where=where,
        expected=EXPECTED,
        fix="this may be COCO results: see `lakesight import-detections`" if is_list else "check --annotations",
    )


def _images(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = each(raws, _Image, "image_record_valid")
    found: list[_Image] = [row.record for row in good]
    columns = {
        "image_id": [r.id for r in found],
        "file_name": [r.file_name for r in found],
        "stated_width": [r.width for r in found],
        "stated_height": [r.height for r in found],
        "captured_at": [_time(r.date_captured) for r in found],
        # `date_captured` stays among the texts: what does not parse is kept, and what does comes back as written.
        "metadata": [further(row.raw, {"id", "file_name", "width", "height"}) for row in good],
        "ordinal": [row.ordinal for row in good],
        "record": [row.raw.decode() for row in good],
    }
    return records(IMAGE_RECORDS, columns, refused)


def _categories(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = each(raws, _Category, "category_record_valid")
    known = set(_Category.__struct_fields__)
    found: list[_Category] = [row.record for row in good]
    columns = {
        "category_id": [r.id for r in found],
        "name": [r.name for r in found],
        "supercategory": [r.supercategory for r in found],
        "keypoints": [r.keypoints for r in found],
        "skeleton": [json_or_none(r.skeleton) for r in found],
        "attributes": [further(row.raw, known) for row in good],
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
