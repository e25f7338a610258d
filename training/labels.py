"""Parquet glue: the annotations of a split that a task learns from, in columns, without masks or any image's bytes."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.snapshot import Split
from quality.coco import NO_MASK
from training.tasks import Task

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """R images and the N boxes (or classes of the whole image) on them, in the split's order."""

    image_id: Ints  # [R]
    width: Ints  # [R], pixels of the stored image, as height
    height: Ints  # [R]
    row: Ints  # [N], the image it is on: 0..R-1
    label: Ints  # [N]
    category_id: Ints  # [N]
    iscrowd: Ints  # [N], 0 or 1
    xywh: NDArray[np.float64]  # [N, 4], pixels; of a class, the whole image

    @property
    def single(self) -> "Labels":
        """Without crowds, which nothing is learned from."""
        keep = self.iscrowd == 0
        own = {name: getattr(self, name) for name in ("image_id", "width", "height")}
        return Labels(**own, **{f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in own})


def read_labels(split: Split, task: Task = "detection") -> Labels:
    """All of a split: boxes, boxes that have a mask, or classes of the whole image.

    One row group at a time is in memory with its masks.
    """
    tables = [
        _slim(unit.read(["image_id", "width", "height", "annotations"]).take(rows), task)
        for unit, rows in zip(split.units, split.rows, strict=True)
        if len(rows)
    ]
    images = pa.concat_tables([images for images, _ in tables])
    found = pa.concat_tables([found for _, found in tables])
    before = np.cumsum([0] + [images.num_rows for images, _ in tables])
    row = np.concatenate([np.asarray(part["row"]) + n for (_, part), n in zip(tables, before[:-1], strict=True)])
    names = ("label", "category_id", "iscrowd")
    numbers = {name: np.asarray(pc.fill_null(found[name], -1)).astype(np.int64) for name in names}
    columns = {name: np.asarray(images[name]) for name in images.column_names}
    return Labels(**columns, row=row, **numbers, xywh=_boxes(found, columns["width"][row], columns["height"][row]))


def _slim(table: pa.Table, task: Task) -> tuple[pa.Table, pa.Table]:
    """Images, and what the task learns from with the number of its image."""
    nested = table["annotations"].combine_chunks()
    flat = pc.list_flatten(nested)
    columns = {name: pc.struct_field(flat, name) for name in ("label", "category_id", "iscrowd", "bbox")}
    columns["iscrowd"] = pc.fill_null(columns["iscrowd"], 0)
    found = pa.table({"row": pc.list_parent_indices(nested), **columns})
    return table.drop_columns(["annotations"]), found.filter(_teaches(flat, task))


def _teaches(flat: pa.StructArray, task: Task) -> pa.Array:
    boxed = pc.is_valid(pc.struct_field(flat, "bbox"))
    if task == "classification":
        return pc.invert(boxed)
    if task == "detection":
        return boxed
    masks = pc.struct_field(flat, "segmentation")
    return pc.and_(boxed, pc.invert(pc.is_in(masks, pa.array([*NO_MASK]))))


def _boxes(found: pa.Table, width: Ints, height: Ints) -> NDArray[np.float64]:
    whole = np.stack([np.zeros_like(width), np.zeros_like(width), width, height], axis=1)
    stated = np.array([box or (np.nan,) * 4 for box in found["bbox"].to_pylist()], dtype=np.float64).reshape(-1, 4)
    return np.where(np.isnan(stated), whole, stated)
