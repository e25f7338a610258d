"""Spark glue: the masks of panoptic segments, read from their PNGs, each file once, in Spark tasks."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.candidates import look_up
from ingestion.formats.coco_panoptic import PANOPTIC, SEGMENT_ID
from ingestion.formats.json_records import refusal
from ingestion.masks import read_segments, why_not
from ingestion.records import ANNOTATION_RECORDS, ANNOTATION_RULE, Records
from ingestion.tasks import in_tasks
from lakesight.tables import BOX, DOUBLE, LONG, STRING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MASK_RULE = "annotation_mask_read"
REQUESTS = pa.schema(
    [("source_uri", STRING), ("image_id", LONG), ("ordinals", pa.list_(LONG)), ("segment_ids", pa.list_(LONG))]
)
MASKS = pa.schema(
    [("ordinal", LONG), ("segmentation", STRING), ("area", DOUBLE), ("bbox", BOX), ("why", STRING), ("record", STRING)]
)
"""A segment's mask, or why there is none; without an ordinal: a file that is wrong apart from its segments."""


def mask_file(attributes: dict[str, str]) -> str:
    """The name of the PNG that holds a segment, inside the folder of masks."""
    name: str = msgspec.json.decode(attributes[PANOPTIC])["file_name"]
    return name


def with_masks(spark: "SparkSession", records: Records, masks: Path, folder: Path, *, whole: bool = True) -> Records:
    """The records with each segment's mask, and its area and box where the file does not state them.

    `whole`: they are all segments of their PNGs, so that what else has pixels is refused.
    """
    folder.mkdir()
    found = in_tasks(spark, mask_requests(records.annotations, masks), _read_batches, MASKS, folder)
    if not whole:
        found = found.filter(pc.is_valid(found["ordinal"]))
    return replace(records, annotations=completed(records.annotations, found))


def mask_requests(annotations: pa.Table, masks: Path) -> pa.Table:
    """`REQUESTS`: one row a PNG, of segments that have no mask yet."""
    files: dict[tuple[str, int], list[tuple[int, int]]] = {}
    usable = annotations.filter(pc.and_(pc.is_null(annotations["refused_by"]), pc.is_null(annotations["segmentation"])))
    for row in usable.select(["ordinal", "image_id", "attributes"]).to_pylist(maps_as_pydicts="strict"):
        key = str(masks / mask_file(row["attributes"])), row["image_id"]
        files.setdefault(key, []).append((row["ordinal"], int(row["attributes"][SEGMENT_ID])))
    rows = [
        {
            "source_uri": uri,
            "image_id": image_id,
            "ordinals": [o for o, _ in found],
            "segment_ids": [s for _, s in found],
        }
        for (uri, image_id), found in files.items()
    ]
    return pa.Table.from_pylist(rows, schema=REQUESTS)


def _read_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for request in batch.to_pylist():
            yield pa.RecordBatch.from_pylist(read_one(**request), schema=MASKS)


def read_one(source_uri: str, image_id: int, ordinals: list[int], segment_ids: list[int]) -> list[dict[str, Any]]:
    """`MASKS` rows of one PNG."""
    try:
        if (path := Path(source_uri)).exists() and not path.is_file():  # reading a pipe would wait for ever
            raise ValueError("it is no file")
        found = read_segments(path.read_bytes(), segment_ids)
    except Exception as error:  # whatever is wrong with one PNG costs its segments and no others
        why = f"the mask cannot be read: {source_uri}: {why_not(error)}"
        return [{"ordinal": ordinal, "why": why} for ordinal in ordinals]
    rows: list[dict[str, Any]] = []
    for ordinal, number in zip(ordinals, segment_ids, strict=True):
        if mask := found.masks.get(number):
            rows.append({"ordinal": ordinal, **vars(mask)})
        else:
            rows.append({"ordinal": ordinal, "why": f"segment {number} has no pixel in {source_uri}"})
    if found.unlisted:
        numbers = ", ".join(str(number) for number in found.unlisted[:5])
        record = msgspec.json.encode({"image_id": image_id, "file_name": Path(source_uri).name}).decode()
        rows.append({"why": f"pixels of segments that `segments_info` does not list: {numbers}", "record": record})
    return rows


def completed(annotations: pa.Table, masks: pa.Table, better: Collection[str] = ()) -> pa.Table:
    """`ANNOTATION_RECORDS` with what `MASKS` say of them; what is wrong with a file's pixels is a row more.

    What is there stays, but in the columns `better`, which a mask knows better.
    """
    mine = look_up(annotations["ordinal"], masks, "ordinal")
    columns = {name: pc.coalesce(annotations[name], mine[name]) for name in ("segmentation", "area", "bbox")}
    columns |= {name: pc.coalesce(mine[name], annotations[name]) for name in better}
    broken = pc.if_else(pc.is_valid(mine["why"]), MASK_RULE, pa.scalar(None, STRING))
    columns |= {
        "refused_by": pc.coalesce(annotations["refused_by"], broken),
        "refused_because": pc.coalesce(annotations["refused_because"], mine["why"]),
    }
    for name, values in columns.items():
        annotations = annotations.set_column(annotations.schema.get_field_index(name), name, values)
    files = masks.filter(pc.is_null(masks["ordinal"])).to_pylist()
    after = (pc.max(annotations["ordinal"]).as_py() or 0) + 1
    further = [
        refusal(after + n, file["record"].encode(), ANNOTATION_RULE, file["why"]) for n, file in enumerate(files)
    ]
    return pa.concat_tables([annotations, pa.Table.from_pylist(further, schema=ANNOTATION_RECORDS)])
