"""Parquet glue: the rows of one planned read, as both faces of a plan hand them on."""

from collections.abc import Sequence

import pyarrow as pa

from features.plan import Read
from features.reference import NEEDED, filled
from lakesight.snapshot import Unit

SAMPLE_COLUMNS = ("image_id", "content", "width", "height", "annotations")
MASKS = "segmentation"
ANNOTATION_FIELDS = ("annotation_id", "category_id", "label", "bbox", "area", "iscrowd", "keypoints")
"""What always travels of an annotation; masks would be most of it."""


def read_rows(unit: Unit, read: Read, columns: Sequence[str] = SAMPLE_COLUMNS, *, masks: bool = False) -> pa.Table:
    """`columns` and `epoch` of the rows of a read, in its order; annotations with their segmentation if `masks`."""
    extra = [name for name in NEEDED if name not in columns] if "content" in columns else []
    table = unit.read([*columns, *extra]).take(read.rows)
    if "content" in columns:
        table = filled(table).drop_columns(extra)
    if "annotations" in columns:
        place = table.schema.get_field_index("annotations")
        fields = (*ANNOTATION_FIELDS, MASKS) if masks else ANNOTATION_FIELDS
        table = table.set_column(place, "annotations", _slim(table["annotations"], fields))
    return table.append_column("epoch", pa.array([read.epoch] * len(read.rows), pa.int64()))


def _slim(annotations: pa.ChunkedArray, fields: Sequence[str]) -> pa.Array:
    """list<struct> with only some fields; NULL becomes an empty list."""
    array = annotations.combine_chunks()
    arrays = [array.values.field(name) for name in fields]
    return pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays(arrays, list(fields)))
