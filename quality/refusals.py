"""Delta glue (delta-rs): what is in `quarantine`, by data set, table and rule: `lakesight quarantine list`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from lakesight import delta
from lakesight.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Refused records that break one rule."""

    dataset: str
    table: str
    rule: str
    records: int
    message: str
    example: str
    """Of one record, what was observed - else the record itself."""
    source_uri: str


def refusals(warehouse: Warehouse, *, dataset: str | None = None) -> list[Refusals]:
    """Refused records by data set, table and rule, most first; a record counts under each rule that it breaks."""
    where = None if dataset is None else pc.field("dataset") == dataset
    columns = ["dataset", "table_name", "source_uri", "record", "errors"]
    rows = delta.read(warehouse, "quarantine", columns=columns, where=where).to_pylist()
    counts: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    for row in rows:
        for error in row["errors"]:
            key = (row["dataset"], row["table_name"], error["rule"])
            counts[key] += 1
            first.setdefault(key, (row, error))
    return [_one(key, number, *first[key]) for key, number in counts.most_common()]


def _one(key: tuple[str, str, str], records: int, row: Mapping[str, Any], error: Mapping[str, Any]) -> Refusals:
    return Refusals(
        dataset=key[0],
        table=key[1],
        rule=key[2],
        records=records,
        message=error["message"] or "",
        example=error["observed"] or row["record"] or "",
        source_uri=row["source_uri"] or "",
    )
