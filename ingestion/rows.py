"""Accepted candidates -> rows of their tables (pure)."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.candidates import look_up
from lakesight.tables import IMAGE_PROPERTIES, INT, TABLES, TIME

CATEGORY = ("category_id", "name", "supercategory", "keypoints", "skeleton", "attributes")
STAMPS = {
    "sources": "ingested_at",
    "arrivals": "seen_at",
    "categories": "ingested_at",
    "images": "ingested_at",
    "image_properties": "computed_at",
    "annotations": "ingested_at",
}


def labelled(categories: pa.Table, held: pa.Table) -> pa.Table:
    """All categories of the data set - a new id shifts every label behind it - with contiguous labels by id.

    Both have the columns `CATEGORY`.
    """
    known = pc.is_in(held["category_id"], value_set=categories["category_id"].combine_chunks())
    new = categories.select(CATEGORY)
    union = pa.concat_tables([new, held.select(CATEGORY).filter(pc.invert(known)).cast(new.schema)])
    order = pc.sort_indices(union["category_id"])
    return union.take(order).append_column("label", pa.array(range(union.num_rows), INT))


def properties(images: pa.Table, decoded: pa.Table) -> pa.Table:
    """`image_properties` of the accepted images that were decoded (others have theirs)."""
    facts = look_up(images["ordinal"], decoded, "ordinal")
    names = [name for name in IMAGE_PROPERTIES.arrow.names if name in decoded.column_names]
    table = facts.select(names).append_column("image_id", images["image_id"])
    return table.filter(pc.is_valid(facts["pixel_hash"]))


@dataclass(frozen=True)
class Run:
    """What every row of a run carries."""

    dataset: str
    run_id: str
    now: datetime


def stamped(rows: pa.Table, table: str, run: Run) -> pa.Table:
    """The table's columns (image bytes apart), with data set, run and time; and `ordinal`, where there is one."""
    constants = {"dataset": pa.scalar(run.dataset), "run_id": pa.scalar(run.run_id)}
    constants[STAMPS[table]] = pa.scalar(run.now, TIME)
    contract = TABLES[table]
    columns = {
        name: pa.repeat(constants[name], rows.num_rows) if name in constants else rows[name]
        for name in contract.arrow.names
        if name != contract.bytes_column
    }
    return pa.table(columns | ({"ordinal": rows["ordinal"]} if "ordinal" in rows.column_names else {}))
