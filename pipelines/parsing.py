"""A COCO file -> its records as rows, as `lakesight ingest coco` reads them (pure; Spark runs these as functions).

A file that is no COCO is one refused image record: there is no one to stop for, and other files are fine.
"""

from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from ingestion.candidates import repeats
from ingestion.formats.coco import parse
from ingestion.read_images import DECODED, examine
from ingestion.records import ANNOTATION_RECORDS, CATEGORY_RECORDS, IMAGE_RECORDS, Records
from ingestion.source import Source
from lakesight.errors import FormatError
from lakesight.sections import IngestConfig
from lakesight.tables import BOOL, LONG, STRING

_FURTHER = pa.field("repeated", BOOL)
IMAGE_ROWS = pa.schema([*IMAGE_RECORDS, ("source_uri", STRING), ("shuffle_key", LONG), _FURTHER])
ANNOTATION_ROWS = pa.schema([*ANNOTATION_RECORDS, _FURTHER])
CATEGORY_ROWS = pa.schema([*CATEGORY_RECORDS, _FURTHER])
"""Records, and whether the file had their id before."""
FACTS = pa.schema([field for field in DECODED if field.name not in ("ordinal", "part", "unreadable")])
"""What the bytes of an image file say, or `undecodable`."""

Rows = list[dict[str, Any]]


def image_rows(path: str, content: bytes, source: str, dataset: str) -> Rows:
    """`IMAGE_ROWS` of a file; `<what>_<name>.json` is about the images in the folder `<name>` of `source`."""
    name = PurePath(path).stem.rpartition("_")[2]
    file = Source(
        path=Path(path),
        format="coco",
        images=Path(source) / name,
        dataset=dataset,
        split=name,
        records=_read(path, content),
    )
    return _rows(file.image_records(), "image_id", IMAGE_ROWS)


def annotation_rows(path: str, content: bytes) -> Rows:
    """`ANNOTATION_ROWS` of a file."""
    return _rows(_read(path, content).annotations, "annotation_id", ANNOTATION_ROWS)


def category_rows(path: str, content: bytes) -> Rows:
    """`CATEGORY_ROWS` of a file."""
    return _rows(_read(path, content).categories, "category_id", CATEGORY_ROWS)


def image_facts(content: bytes) -> dict[str, Any]:
    """`FACTS` of an image file."""
    found = examine(content, None, IngestConfig().max_pixels)
    return {name: found.get(name) for name in FACTS.names}


def _read(path: str, content: bytes) -> Records:
    try:
        return parse(content, path)
    except FormatError as error:
        refused = {
            "ordinal": 0,
            "record": "{}",
            "refused_by": "image_record_valid",
            "refused_because": error.what,
        }
        images = pa.Table.from_pylist([refused], schema=IMAGE_RECORDS)
        return Records(images, ANNOTATION_RECORDS.empty_table(), CATEGORY_RECORDS.empty_table())


def _rows(records: pa.Table, key: str, schema: pa.Schema) -> Rows:
    table = records.append_column("repeated", repeats(records[key])).select(schema.names)
    rows: Rows = table.to_pylist(maps_as_pydicts="strict")
    return rows
