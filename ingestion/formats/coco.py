"""COCO instances JSON -> Arrow records (pure): `lakesight ingest coco`.

The file is decoded once with types. Only where that fails - an unknown key, a record of the wrong shape - does a
slower path look at each record, so one bad record is one refused record and not a refused file. Segmentation stays
the JSON it is: nothing here needs its numbers, and they are most of the file.
"""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import pyarrow as pa

from ingestion.records import ANNOTATION_RECORDS, CATEGORY_RECORDS, IMAGE_RECORDS, Records
from lakesight.errors import FormatError

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
T = TypeVar("T")


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: msgspec.Raw
    categories: list[msgspec.Raw]


class _Image(msgspec.Struct):
    id: Int64
    file_name: str
    width: Int32 | None = None
    height: Int32 | None = None
    date_captured: Any = None


class _Annotation(msgspec.Struct):
    id: Int64
    image_id: Int64
    category_id: Int64 | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: Int32 = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    keypoints: list[float] | None = None
    num_keypoints: Int32 | None = None


class _StrictAnnotation(_Annotation, forbid_unknown_fields=True):
    """COCO's own keys and no other: what the fast path takes."""


class _Category(msgspec.Struct):
    id: Int64
    name: str
    supercategory: str | None = None
    keypoints: list[str] | None = None
    skeleton: msgspec.Raw = msgspec.Raw(b"null")


def parse(data: bytes, where: str) -> Records:
    """The records of a COCO instances file; `where` names it in errors.

    Raises:
        FormatError: not JSON, not COCO, or no record of a kind can be read.
    """
    with _no_gc():
        file, data = _open(data, where)
        tables = _images(file.images), _annotations(file.annotations, where), _categories(file.categories)
        records = Records(*tables, info=_further(data, {"images", "annotations", "categories"}))
    _refuse_hopeless(records, where)
    return records


@contextmanager
def _no_gc() -> Iterator[None]:
    """No garbage collection: a million live objects make it most of the parsing time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _open(data: bytes, where: str) -> tuple[_File, bytes]:
    """The file, and the bytes it was read from: without a byte order mark, and JSON."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=_File), data
    except msgspec.ValidationError as error:
        raise _no_coco(data, error, where) from error
    except msgspec.DecodeError:
        data = _without_constants(data, where)
    try:
        return msgspec.json.decode(data, type=_File), data
    except msgspec.ValidationError as error:
        raise _no_coco(data, error, where) from error


def _without_constants(data: bytes, where: str) -> bytes:
    """Python writes NaN and Infinity, which JSON has not: as strings they cost their record, not the file."""
    try:
        return msgspec.json.encode(json.loads(data, parse_constant=str))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"the annotation file is not JSON: {error}", where=where, expected="a COCO instances file"
        ) from error


def _no_coco(data: bytes, error: msgspec.ValidationError, where: str) -> FormatError:
    is_list = data.lstrip()[:1] == b"["
    return FormatError(
        f"the annotation file is JSON but not COCO: {error}",
        where=where,
        expected="an object with the lists `images`, `annotations` and `categories`",
        fix="this may be COCO results: see `lakesight import-detections`" if is_list else "check --annotations",
    )


def _images(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = _each(raws, _Image, "image_record_valid")
    records = [record for _, record, _ in good]
    columns = {
        "image_id": [r.id for r in records],
        "file_name": [r.file_name for r in records],
        "stated_width": [r.width for r in records],
        "stated_height": [r.height for r in records],
        "captured_at": [_time(r.date_captured) for r in records],
        # `date_captured` stays among the texts: what does not parse is kept, and what does comes back as written.
        "metadata": [_further(raw, {"id", "file_name", "width", "height"}) for _, _, raw in good],
        "ordinal": [ordinal for ordinal, _, _ in good],
        "record": [raw.decode() for _, _, raw in good],
    }
    return _table(IMAGE_RECORDS, columns, refused)


def _annotations(raw: msgspec.Raw, where: str) -> pa.Table:
    try:
        records: Sequence[_Annotation] = msgspec.json.decode(raw, type=list[_StrictAnnotation])
        return _table(ANNOTATION_RECORDS, _annotation_columns(records, range(len(records)), None), [])
    except msgspec.DecodeError:  # ValidationError is one
        pass
    try:
        raws = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise _no_coco(b"{", msgspec.ValidationError(f"{error} - at `$.annotations`"), where) from error
    good, refused = _each(raws, _Annotation, "annotation_record_valid")
    known = set(_Annotation.__struct_fields__)
    further = [_further(raw, known) for _, _, raw in good]
    columns = _annotation_columns([r for _, r, _ in good], [ordinal for ordinal, _, _ in good], further)
    return _table(ANNOTATION_RECORDS, columns, refused)


def _annotation_columns(
    records: Sequence[_Annotation], ordinals: Sequence[int], further: list[dict[str, str]] | None
) -> dict[str, Any]:
    return {
        "annotation_id": [r.id for r in records],
        "image_id": [r.image_id for r in records],
        "category_id": [r.category_id for r in records],
        "bbox": [r.bbox for r in records],
        "area": [r.area for r in records],
        "iscrowd": [r.iscrowd for r in records],
        "segmentation": [_json(r.segmentation) for r in records],
        "keypoints": [r.keypoints for r in records],
        "num_keypoints": [r.num_keypoints for r in records],
        "attributes": [{}] * len(records) if further is None else further,
        "ordinal": ordinals,
    }


def _categories(raws: Sequence[msgspec.Raw]) -> pa.Table:
    good, refused = _each(raws, _Category, "category_record_valid")
    known = set(_Category.__struct_fields__)
    records = [record for _, record, _ in good]
    columns = {
        "category_id": [r.id for r in records],
        "name": [r.name for r in records],
        "supercategory": [r.supercategory for r in records],
        "keypoints": [r.keypoints for r in records],
        "skeleton": [_json(r.skeleton) for r in records],
        "attributes": [_further(raw, known) for _, _, raw in good],
        "ordinal": [ordinal for ordinal, _, _ in good],
        "record": [raw.decode() for _, _, raw in good],
    }
    return _table(CATEGORY_RECORDS, columns, refused)


def _each(
    raws: Sequence[msgspec.Raw], kind: type[T], rule: str
) -> tuple[list[tuple[int, T, bytes]], list[dict[str, Any]]]:
    """(place, record, JSON) of what is a `kind`, and a row for each record that is not."""
    good: list[tuple[int, T, bytes]] = []
    refused: list[dict[str, Any]] = []
    for ordinal, raw in enumerate(raws):
        text = bytes(raw)
        try:
            record = msgspec.json.decode(text, type=kind)
            text.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            row = {"ordinal": ordinal, "record": text.decode(errors="replace")}
            refused.append(row | {"refused_by": rule, "refused_because": str(error)})
        else:
            good.append((ordinal, record, text))
    return good, refused


def _table(schema: pa.Schema, columns: dict[str, Any], refused: list[dict[str, Any]]) -> pa.Table:
    rows = len(columns["ordinal"])
    arrays = [pa.array(columns.get(field.name, [None] * rows), field.type) for field in schema]
    good = pa.table(arrays, schema=schema)
    return pa.concat_tables([good, pa.Table.from_pylist(refused, schema=schema)])


def _json(raw: msgspec.Raw) -> str | None:
    text = bytes(raw)
    return None if text == b"null" else text.decode()


def _further(raw: bytes, known: set[str]) -> dict[str, str]:
    """The record's other keys, sorted, as texts."""
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return {key: text(bytes(fields[key])) for key in sorted(fields) if key not in known}


def text(raw: bytes) -> str:
    """A JSON value as text: strings as they are - unless they read as JSON themselves - and JSON for the rest.

    So `metadata['camera'] = 'gate'` can be asked plainly, and the value still comes back as it was.
    """
    if not raw.startswith(b'"'):
        return bytes(msgspec.json.format(raw, indent=-1)).decode()
    plain: str = msgspec.json.decode(raw, type=str)
    try:
        msgspec.json.decode(plain)
    except (msgspec.DecodeError, RecursionError):
        return plain
    return raw.decode()


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
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
                f"no record of `{name}` is one of COCO instances; the first: {reasons[0].as_py()}",
                where=where,
                expected="COCO's keys and types, e.g. an integer `id`",
                fix="check that this is an instances file, not captions or panoptic",
            )
