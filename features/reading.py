"""Parquet glue: the rows of one planned read, as both faces of a plan hand them on."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.plan import Read, Rows
from features.reference import NEEDED, filled
from lakesight.snapshot import Unit
from lakesight.tables import BINARY

SAMPLE_COLUMNS = ("image_id", "content", "width", "height", "annotations")
MASKS = "segmentation"
ANNOTATION_FIELDS = ("annotation_id", "category_id", "label", "bbox", "area", "iscrowd", "keypoints")
"""What always travels of an annotation; masks would be most of it."""


def read_rows(unit: Unit, read: Read, columns: Sequence[str] = SAMPLE_COLUMNS, *, masks: bool = False) -> pa.Table:
    """`columns` and `epoch` of the rows of a read, in its order; annotations with their segmentation if `masks`."""
    table = _picked(unit.read(columns), read.rows)
    if "content" in columns and table["content"].null_count:
        extra = [name for name in NEEDED if name not in columns]
        table = filled(_picked(unit.read([*columns, *extra]), read.rows)).select(list(columns))
    if "annotations" in columns:
        place = table.schema.get_field_index("annotations")
        fields = (*ANNOTATION_FIELDS, MASKS) if masks else ANNOTATION_FIELDS
        table = table.set_column(place, "annotations", _slim(table["annotations"], fields))
    return table.append_column("epoch", pa.array([read.epoch] * len(read.rows), pa.int64()))


def _picked(table: pa.Table, rows: Rows) -> pa.Table:
    """The rows, in this order; image bytes are pointed to where they lie: `take` would copy them."""
    columns = [_pointed(column, rows) if column.type == BINARY else column.take(rows) for column in table.columns]
    return pa.Table.from_arrays(columns, table.schema.names)


def _pointed(column: pa.ChunkedArray, rows: Rows) -> pa.ChunkedArray:
    return pa.chunked_array([one for row in rows.tolist() for one in column.slice(row, 1).chunks], column.type)


def encoded(content: pa.Array | pa.ChunkedArray) -> list[memoryview | None]:
    """The bytes of each image where they lie, not copied; None where there are none."""
    chunks = content.chunks if isinstance(content, pa.ChunkedArray) else [content]
    return [view for chunk in chunks if len(chunk) for view in _views(chunk.cast(BINARY))]


def _views(chunk: pa.BinaryArray) -> list[memoryview | None]:
    # By its buffers: a scalar of Arrow is a copy.
    _, offsets, data = chunk.buffers()
    ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
    whole = memoryview(data or b"").cast("B")
    there = chunk.is_valid().to_pylist() if chunk.null_count else [True] * len(chunk)
    return [whole[start:end] if one else None for start, end, one in zip(ends, ends[1:], there, strict=False)]


def _slim(annotations: pa.ChunkedArray, fields: Sequence[str]) -> pa.Array:
    """list<struct> with only some fields; NULL becomes an empty list."""
    array = annotations.combine_chunks()
    arrays = [array.values.field(name) for name in fields]
    return pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays(arrays, list(fields)))
