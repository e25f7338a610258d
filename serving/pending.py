"""What a model version has not scored yet: units of a pinned `images` snapshot, with the rows that are wanted."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.plan import Read, in_order
from lakesight import delta
from lakesight.errors import UserError
from lakesight.snapshot import Unit
from lakesight.warehouse import Warehouse


@dataclass(frozen=True)
class Pending:
    """Images of a data set and split in a version of `images`, and where those lie that are to be scored."""

    version: int
    num_images: int
    units: tuple[Unit, ...]
    reads: tuple[Read, ...]
    """Of the units with a wanted row: the rows that are wanted."""

    @property
    def num_pending(self) -> int:
        """Images to score."""
        return sum(len(read.rows) for read in self.reads)


def find_pending(warehouse: Warehouse, model_name: str, model_version: str, dataset: str, split: str | None) -> Pending:
    """Pin `images` and leave out what the model version has scored, by narrow columns only.

    Row groups without a wanted row are not read.

    Raises:
        UserError: the data set has no images of that split.
    """
    snapshot = delta.plan(warehouse, "images")
    keys = [unit.read(["dataset", "image_id", "split"]) for unit in snapshot.units]
    mine = [_belongs(table, dataset, split) for table in keys]
    num_images = sum(int(mask.sum()) for mask in mine)
    if num_images == 0:
        raise UserError(
            f"data set {dataset!r} has no images" + (f" of split {split!r}" if split else ""),
            where=str(warehouse.path("images")),
            fix="correct --dataset or --split, or ingest images first",
        )
    scored = _scored(warehouse, model_name, model_version, dataset)
    known = np.isin(np.concatenate([table["image_id"].to_numpy() for table in keys]), scored)
    known_of = np.split(known, np.cumsum([table.num_rows for table in keys])[:-1])
    rows = [np.flatnonzero(mask & ~scored_) for mask, scored_ in zip(mine, known_of, strict=True)]
    return Pending(snapshot.version, num_images, snapshot.units, tuple(in_order(rows)))


def _belongs(table: pa.Table, dataset: str, split: str | None) -> NDArray[np.bool_]:
    mask = pc.equal(table["dataset"], dataset)
    if split is not None:
        mask = pc.and_(mask, pc.fill_null(pc.equal(table["split"], split), False))
    belongs: NDArray[np.bool_] = mask.to_numpy()
    return belongs


def _scored(warehouse: Warehouse, model_name: str, model_version: str, dataset: str) -> NDArray[np.int64]:
    mine = pc.field("dataset") == dataset
    mine &= (pc.field("model_name") == model_name) & (pc.field("model_version") == model_version)
    ids: NDArray[np.int64] = delta.read(warehouse, "predictions", columns=["image_id"], where=mine)[
        "image_id"
    ].to_numpy()
    return ids
