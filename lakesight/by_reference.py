"""Delta glue: which images the table holds by reference only, so that their bytes are read once they are wanted."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import delta
from lakesight.snapshot import plan_table, span
from lakesight.warehouse import Warehouse


def without_bytes(
    warehouse: Warehouse, dataset: str, version: int | None = None, *, near: pa.ChunkedArray | None = None
) -> pa.Array:
    """`image_id` of a data set's rows of `images`, at a version, whose `content` is NULL.

    `near`: the ids that are of interest; files whose statistics exclude all of them are not opened.
    Bytes have no statistics. In the layout that is written here the headers of a row group's pages say that none are
    missing, and only the others are read.
    """
    within = {} if near is None else span("image_id", near)
    plan = plan_table(delta.open_table(warehouse, "images", version), "images", within)
    some = replace(plan, units=tuple(unit for unit in plan.units if not unit.all_there("content")))
    where = (pc.field("dataset") == dataset) & pc.field("content").is_null()
    return some.read(["image_id"], where)["image_id"].combine_chunks()
