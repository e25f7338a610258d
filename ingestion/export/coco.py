"""Tables -> COCO JSON, one file a flavour and split, and panoptic PNGs (pure). The way back of `ingest coco`.

`annotations/instances_<split>.json` (boxes, masks, keypoints), `captions_`, `labels_`, `panoptic_<split>.json` with
the PNGs in `panoptic_<split>/`; images in `<split>/`, or `images/` where there is no split.

A NULL is a key that is left out. What the tables add: `width`, `height` and, with a box, `iscrowd`.
"""

from collections.abc import Iterable, Iterator

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.export.selection import File, Row, Selection, rows_of, written_ids
from ingestion.formats.coco_annotations import FORMATS
from ingestion.formats.coco_panoptic import PANOPTIC, SEGMENT_ID
from ingestion.formats.json_records import value
from ingestion.formats.text_ids import TEXT_ID
from ingestion.masks import write_segments
from lakesight.errors import UserError


def image_path(split: str | None, file_name: str) -> str:
    """Where an image goes, in the exported folder."""
    return f"{split or 'images'}/{file_name}"


def takes(annotations: pa.Table) -> pa.ChunkedArray:
    """Of each annotation, whether the format can say it: all."""
    return pc.is_valid(annotations["annotation_id"])


def files(selection: Selection) -> Iterator[File]:
    """Every file but the images."""
    for split, part in selection.splits().items():
        for flavour, annotations in by_flavour(part.annotations).items():
            name = f"annotations/{flavour}" + (f"_{split}" if split else "")
            if flavour == "panoptic":
                yield from _masks(annotations, name)
            yield f"{name}.json", document(part, annotations, flavour)


def by_flavour(annotations: pa.Table) -> dict[str, pa.Table]:
    """Rows of each flavour that has any; `instances` where there are none at all."""
    keys = {name: pc.map_lookup(annotations["attributes"], name, "first") for name in (SEGMENT_ID, "caption")}
    boxless = pc.is_null(annotations["bbox"])
    is_caption = pc.and_(boxless, pc.is_valid(keys["caption"]))
    conditions = pc.make_struct(pc.is_valid(keys[SEGMENT_ID]), is_caption, boxless)
    flavour = pc.case_when(conditions, *(pa.scalar(name) for name in ("panoptic", "captions", "labels", "instances")))
    found = {name: annotations.filter(pc.equal(flavour, name)) for name in FORMATS}
    return {name: rows for name, rows in found.items() if rows.num_rows} or {"instances": annotations}


def document(selection: Selection, annotations: pa.Table, flavour: str) -> Iterator[bytes]:
    """A COCO file in pieces: the further top-level keys, then images, annotations, categories."""
    sources = selection.sources.filter(pc.equal(selection.sources["format"], FORMATS[flavour]))
    yield b"{"
    for key, text in agreed(sources).items():
        yield msgspec.json.encode(key) + b": " + bytes(value(text)) + b",\n"
    yield from _list("images", (_image(row) for row in rows_of(selection.images)))
    yield b",\n"
    images, categories = written_ids(selection.images), written_ids(selection.categories)
    yield from _list("annotations", _named(_RECORDS[flavour](rows_of(annotations)), images, categories))
    if flavour != "captions":
        yield b",\n"
        yield from _list("categories", (_category(row) for row in _categories(selection, annotations, sources)))
    yield b"}\n"


def agreed(sources: pa.Table) -> dict[str, str]:
    """The further top-level keys of files on which all that state them agree: key -> text or JSON."""
    found: dict[str, set[str]] = {}
    for info in sources["info"].to_pylist():
        for key, text in info:
            found.setdefault(key, set()).add(text)
    return {key: next(iter(texts)) for key, texts in found.items() if len(texts) == 1}


def _categories(selection: Selection, annotations: pa.Table, sources: pa.Table) -> list[Row]:
    """The categories that the files listed, in their order, and any other that is used; all if no file is known."""
    known = {row["category_id"]: row for row in rows_of(selection.categories)}
    listed = [number for ids in sources["category_ids"].to_pylist() for number in ids or ()]
    used = pc.unique(annotations["category_id"]).drop_null().sort().to_pylist() if sources.num_rows else known
    return [known[number] for number in dict.fromkeys([*listed, *used]) if number in known]


def _named(records: Iterable[Row], images: dict[int, str], categories: dict[int, str]) -> Iterator[Row]:
    """Annotations that name their image and class as these are written."""
    for record in records:
        record["image_id"] = images.get(record["image_id"], record["image_id"])
        for one in (record, *record.get("segments_info", ())):
            if isinstance(id_ := one.get("category_id"), int):
                one["category_id"] = categories.get(id_, id_)
        yield record


def _list(name: str, records: Iterable[Row]) -> Iterator[bytes]:
    yield b'"%s": [' % name.encode()
    for place, record in enumerate(records):
        yield (b",\n" if place else b"\n") + msgspec.json.encode(record)
    yield b"]"


def _stated(record: Row, texts: dict[str, str] | None) -> Row:
    """What is not NULL, and the further keys as they were written, unless they are called as one of the record's."""
    texts = texts or {}
    further = {key: value(text) for key, text in texts.items() if key not in {*record, TEXT_ID}}
    own = record | {"id": texts[TEXT_ID]} if TEXT_ID in texts else record
    return {key: found for key, found in own.items() if found is not None} | further


def _image(row: Row) -> Row:
    names = {"id": "image_id", "file_name": "file_name", "width": "width", "height": "height"}
    return _stated({key: row[column] for key, column in names.items()}, row["metadata"])


def _category(row: Row) -> Row:
    skeleton = msgspec.Raw(row["skeleton"].encode()) if row["skeleton"] else None
    record = {"id": row["category_id"], "name": row["name"], "supercategory": row["supercategory"]}
    return _stated(record | {"keypoints": row["keypoints"], "skeleton": skeleton}, row["attributes"])


def _boxes(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        record = {"id": row["annotation_id"], "image_id": row["image_id"], "category_id": row["category_id"]}
        record |= {key: row[key] for key in ("bbox", "area", "keypoints", "num_keypoints")}
        record["iscrowd"] = None if row["bbox"] is None else row["iscrowd"]
        record["segmentation"] = msgspec.Raw(row["segmentation"].encode()) if row["segmentation"] else None
        yield _stated(record, row["attributes"])


def _captions(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        yield _stated({"id": ~row["annotation_id"], "image_id": row["image_id"]}, row["attributes"])


def _panoptic(rows: Iterable[Row]) -> Iterator[Row]:
    for image_id, segments in _by_image(rows).items():
        shared = msgspec.json.decode(segments[0]["attributes"][PANOPTIC], type=dict[str, msgspec.Raw])
        yield {"image_id": image_id, **shared, "segments_info": [_segment(row) for row in segments]}


def _segment(row: Row) -> Row:
    record = {"id": _number(row), "category_id": row["category_id"]}
    record |= {key: row[key] for key in ("area", "bbox", "iscrowd")}
    return _stated(record, {k: text for k, text in row["attributes"].items() if k not in (SEGMENT_ID, PANOPTIC)})


def _number(row: Row) -> int:
    return int(row["attributes"][SEGMENT_ID])


def _by_image(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Segments by image, in the order of their numbers."""
    found: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["image_id"], _number(row))):
        found.setdefault(row["image_id"], []).append(row)
    return found


def _masks(annotations: pa.Table, folder: str) -> Iterator[File]:
    """The PNGs, an image at a time; each of the size that its masks have, which need not be the image's."""
    for image_id, segments in _by_image(rows_of(annotations)).items():
        name = msgspec.json.decode(segments[0]["attributes"][PANOPTIC])["file_name"]
        masks = {_number(row): row["segmentation"] for row in segments}
        yield f"{folder}/{name}", [write_segments(*_size(masks.values(), image_id), masks)]


def _size(segmentations: Iterable[str], image_id: int) -> tuple[int, int]:
    """(height, width) of the masks of an image."""
    sizes = {tuple(msgspec.json.decode(text)["size"]) for text in segmentations}
    if len(sizes) > 1:
        raise UserError(
            f"the masks of image {image_id} are of several sizes: {', '.join(map(str, sorted(sizes)))}",
            expected="one size, as they go into one PNG",
            fix="correct the mask file and ingest it again, or leave the image out with --where",
        )
    height, width = sizes.pop()
    return height, width


_RECORDS = {"instances": _boxes, "labels": _boxes, "captions": _captions, "panoptic": _panoptic}
