"""Parquet glue: the annotations of a split in columns, without masks and without any image's bytes."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.snapshot import Split

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """R images and the N boxes on them, in the split's order."""

    image_id: Ints  # [R]
    width: Ints  # [R], pixels of the stored image, as height
    height: Ints  # [R]
    row: Ints  # [N], the image a box is on: 0..R-1
    label: Ints  # [N]
    category_id: Ints  # [N]
    iscrowd: Ints  # [N], 0 or 1
    xywh: NDArray[np.float64]  # [N, 4], pixels

    @property
    def single(self) -> "Labels":
        """Without crowds, which nothing is learned from."""
        keep = self.iscrowd == 0
        own = {name: getattr(self, name) for name in ("image_id", "width", "height")}
        return Labels(**own, **{f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in own})


def read_labels(split: Split) -> Labels:
    """All of a split; one row group at a time is in memory with its masks."""
    tables = [
        _slim(unit.read(["image_id", "width", "height", "annotations"]).take(rows))
        for unit, rows in zip(split.units, split.rows, strict=True)
        if len(rows)
    ]
    images = pa.concat_tables([images for images, _ in tables])
    boxes = pa.concat_tables([boxes for _, boxes in tables])
    before = np.cumsum([0] + [images.num_rows for images, _ in tables])
    row = np.concatenate([np.asarray(boxes["row"]) + n for (_, boxes), n in zip(tables, before[:-1], strict=True)])
    numbers = {name: np.asarray(boxes[name]).astype(np.int64) for name in ("label", "category_id", "iscrowd")}
    xywh = np.array(boxes["bbox"].to_pylist(), dtype=np.float64).reshape(-1, 4)
    return Labels(**{name: np.asarray(images[name]) for name in images.column_names}, row=row, **numbers, xywh=xywh)


def _slim(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Images, and boxes with the number of their image."""
    nested = table["annotations"].combine_chunks()
    flat = pc.list_flatten(nested)
    columns = {name: pc.struct_field(flat, name) for name in ("label", "category_id", "iscrowd", "bbox")}
    return table.drop_columns(["annotations"]), pa.table({"row": pc.list_parent_indices(nested), **columns})
