"""Rows of `samples` -> flat columns of one width, as petastorm stacks them (pure)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NO_LABEL = -1
"""Fills `labels` up; no other column says by itself what is filling."""

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), False),
        pa.field("file_name", pa.string(), False),
        pa.field("split", pa.string(), False),
        pa.field("content", pa.binary(), False),
        pa.field("width", pa.int32(), False),
        pa.field("height", pa.int32(), False),
        pa.field("exif_orientation", pa.int32(), False),
        pa.field("num_annotations", pa.int32(), False),
        pa.field("annotation_ids", pa.list_(pa.int64()), False),
        pa.field("category_ids", pa.list_(pa.int64()), False),
        pa.field("labels", pa.list_(pa.int32()), False),
        pa.field("boxes", pa.list_(pa.float64()), False),
        pa.field("areas", pa.list_(pa.float64()), False),
        pa.field("iscrowd", pa.list_(pa.int32()), False),
        pa.field("segmentations", pa.list_(pa.string()), False),
        pa.field("keypoints", pa.list_(pa.float64()), False),
    ]
)
FILLING: dict[str, tuple[str, Any]] = {
    "annotation_ids": ("annotation_id", 0),
    "category_ids": ("category_id", 0),
    "labels": ("label", NO_LABEL),
    "areas": ("area", 0.0),
    "iscrowd": ("iscrowd", 0),
    "segmentations": ("segmentation", ""),
}
"""Columns of one value an annotation: the field it comes from, and what stands for none."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Width:
    """How many annotations the lists of an image hold, and how many keypoints each annotation."""

    annotations: int
    keypoints: int


def width(annotations: pa.ListArray) -> Width:
    """The most there are, of a column `annotations`."""
    keypoints = pc.struct_field(annotations.flatten(), "keypoints")
    return Width(_longest(annotations), -(-_longest(keypoints) // 3))


def columns(samples: pa.Table, wide: Width) -> pa.Table:
    """The rows as `SCHEMA` has them.

    Of N annotations and K keypoints: `boxes` is N times x, y, w, h in pixels of the stored image, `keypoints` N times K
    times x, y, visibility; the other lists are N values.
    """
    lists: pa.ListArray = samples["annotations"].combine_chunks()
    counts = _counts(lists)
    flat = lists.flatten()
    found = {name: pc.fill_null(samples[name], "") for name in ("file_name", "split")}
    found |= {name: samples[name] for name in ("image_id", "content", "width", "height")}
    found |= {"exif_orientation": pc.fill_null(samples["exif_orientation"], 1), "num_annotations": pa.array(counts)}
    for name, (field, none) in FILLING.items():
        values = pc.fill_null(pc.struct_field(flat, field), none).to_numpy(zero_copy_only=False)
        found[name] = _lists(filled(values[:, None], counts, wide.annotations, none))
    for name, field, across in (("boxes", "bbox", 4), ("keypoints", "keypoints", 3 * wide.keypoints)):
        found[name] = _lists(filled(_matrix(pc.struct_field(flat, field), across), counts, wide.annotations, 0.0))
    return pa.table([found[name].cast(type_) for name, type_ in zip(SCHEMA.names, SCHEMA.types, strict=True)], SCHEMA)


def filled(values: Array, counts: Array, most: int, none: object) -> Array:
    """[total, W] values, of which the first `counts[0]` are of row 0, and so on -> [rows, most * W]."""
    rows = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    matrix = np.full((len(counts), most, values.shape[1]), none, values.dtype)
    matrix[rows, places] = values
    return matrix.reshape(len(counts), most * values.shape[1])


def _matrix(lists: pa.ListArray, across: int) -> Array:
    """Lists of numbers as [rows, across], short ones filled up with 0."""
    return filled(lists.flatten().to_numpy(zero_copy_only=False)[:, None], _counts(lists), across, 0.0)


def _lists(matrix: Array) -> pa.ListArray:
    rows, across = matrix.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * across, pa.int32()), pa.array(matrix.ravel()))


def _counts(lists: pa.ListArray) -> Array:
    counts: Array = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return counts


def _longest(lists: pa.ListArray) -> int:
    return int(pc.max(pc.list_value_length(lists)).as_py() or 0)
