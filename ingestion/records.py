"""What every format is read into: records in the order of the file, as Arrow tables.

A record that cannot be typed keeps its place: its JSON stands in `record`, the rule it breaks in `refused_by`, the
reason in `refused_because`, and the columns are NULL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from lakesight.tables import BOOL, BOX, DOUBLE, INT, LONG, STRING, TIME

TEXTS = pa.map_(STRING, STRING)
_RECORD = [("ordinal", LONG), ("record", STRING), ("refused_by", STRING), ("refused_because", STRING)]
IMAGE_RECORDS = pa.schema(
    [
        ("image_id", LONG),
        ("file_name", STRING),
        ("stated_width", INT),
        ("stated_height", INT),
        ("captured_at", TIME),
        ("split", STRING),
        ("metadata", TEXTS),
        *_RECORD,
    ]
)
"""`file_name` is relative to the image folder; `split` is NULL where the format does not state one."""
ANNOTATION_RECORDS = pa.schema(
    [
        ("annotation_id", LONG),
        ("image_id", LONG),
        ("category_id", LONG),
        ("bbox", BOX),
        ("area", DOUBLE),
        ("iscrowd", INT),
        ("segmentation", STRING),
        ("keypoints", BOX),
        ("num_keypoints", INT),
        ("attributes", TEXTS),
        ("image_level", BOOL),
        ("normalised", BOOL),
        *_RECORD,
    ]
)
"""`image_level`: it is about the whole image and has no box - a class, a caption; NULL counts as false.

`normalised`: box, area, segmentation and keypoints are in fractions of the image's size; NULL: in pixels.
"""
CATEGORY_RECORDS = pa.schema(
    [
        ("category_id", LONG),
        ("name", STRING),
        ("supercategory", STRING),
        ("keypoints", pa.list_(STRING)),
        ("skeleton", STRING),
        ("attributes", TEXTS),
        *_RECORD,
    ]
)
ANNOTATION_RULE = "annotation_record_valid"
"""What an annotation breaks that is not as its format says."""
SCHEMAS = {"images": IMAGE_RECORDS, "annotations": ANNOTATION_RECORDS, "categories": CATEGORY_RECORDS}
STATED = {name: [c for c in schema.names if c not in dict(_RECORD)] for name, schema in SCHEMAS.items()}
"""The columns that a file states, by table."""


@dataclass(frozen=True)
class Records:
    """A data set as its files state it: `IMAGE_RECORDS`, `ANNOTATION_RECORDS`, `CATEGORY_RECORDS`."""

    images: pa.Table
    annotations: pa.Table
    categories: pa.Table
    info: dict[str, str] = field(default_factory=dict)
    """What the file says of itself (COCO `info`, `licenses`, other top-level keys): key -> text or JSON."""
    flavour: str = ""
    """What the format's variant is called: COCO has instances, captions, panoptic, labels."""
    notes: tuple[str, ...] = ()
    """What the user should know of the file, beside its records."""


def records_table(schema: pa.Schema, rows: list[dict[str, object]]) -> pa.Table:
    """Rows as a table of records; `ordinal` is their place, columns that are left out are NULL."""
    return pa.Table.from_pylist([{**row, "ordinal": place} for place, row in enumerate(rows)], schema=schema)


class GrowingTable:
    """Rows that are added one by one, most of them in Arrow already: as dicts they would take ten times the memory."""

    CHUNK_ROWS = 5_000

    def __init__(self, schema: pa.Schema) -> None:
        """No rows."""
        self._tables = [schema.empty_table()]
        self._rows: list[Mapping[str, Any]] = []
        self.num_rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Columns that are left out are NULL."""
        self._rows.append(row)
        self.num_rows += 1
        if len(self._rows) == self.CHUNK_ROWS:
            self._tables.append(self._as_table())
            self._rows = []

    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables([*self._tables, self._as_table()])

    def _as_table(self) -> pa.Table:
        return pa.Table.from_pylist(self._rows, schema=self._tables[0].schema)


def refused_annotation(stated: Mapping[str, Any], because: str) -> dict[str, Any]:
    """The record of an annotation that cannot be used; all other columns are NULL."""
    record = msgspec.json.encode(stated).decode()
    return {"record": record, "refused_by": ANNOTATION_RULE, "refused_because": because}
