"""Refused candidates -> rows of `quarantine`, and back to records (pure)."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.records import SCHEMAS, STATED, Records, records_table
from ingestion.rows import Run
from lakesight.tables import QUARANTINE

TEXT_COLUMNS = ("metadata", "attributes")
UNTYPED = "_record_valid"
"""How the rules' names end that a record breaks which is not as its format says."""


def quarantine_rows(refused: Mapping[str, pa.Table], run: Run, source_uri: str) -> pa.Table:
    """One row for each different record of each table's refused candidates.

    `record_hash` is of data set, table, record and the rules' names: the same refusal is the same row on every run.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, table in refused.items():
        for candidate in table.to_pylist():
            untyped = (candidate["refused_by"] or "").endswith(UNTYPED)
            typed = None if untyped else _typed(name, candidate)
            record = candidate["record"] or typed or "{}"
            names = ",".join(error["rule"] for error in candidate["errors"])
            key = hashlib.sha256("\n".join([run.dataset, name, record, names]).encode()).hexdigest()
            rows[key] = {
                "dataset": run.dataset,
                "table_name": name,
                "source_uri": source_uri,
                "record": record,
                "typed": typed,
                "record_hash": key,
                "errors": candidate["errors"],
                "run_id": run.run_id,
                "quarantined_at": run.now,
            }
    return pa.Table.from_pylist(list(rows.values()), schema=QUARANTINE.arrow)


def by_rule(refused: Iterable[pa.Table]) -> dict[str, int]:
    """Refused candidates by rule, most first."""
    counts = Counter(error["rule"] for table in refused for errors in table["errors"].to_pylist() for error in errors)
    return dict(counts.most_common())


def records_of(rows: Iterable[Mapping[str, Any]]) -> Records:
    """The records of rows of `quarantine`; those that could not be typed are refused as they were."""
    found: dict[str, list[dict[str, object]]] = {name: [] for name in SCHEMAS}
    for row in rows:
        found[row["table_name"]].append({"record": row["record"], **_columns(row)})
    return Records(**{name: records_table(SCHEMAS[name], found[name]) for name in SCHEMAS})


def places_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """`file_name` -> path, of refused image records: not all are at their name in the image folder."""
    typed = (msgspec.json.decode(row["typed"]) for row in rows if row["table_name"] == "images" and row["typed"])
    return {record["file_name"]: record["source_uri"] for record in typed if record["file_name"]}


def _columns(row: Mapping[str, Any]) -> dict[str, object]:
    if row["typed"] is None:
        error = next(error for error in row["errors"] if error["rule"].endswith(UNTYPED))
        return {"refused_by": error["rule"], "refused_because": error["observed"]}
    columns: dict[str, object] = msgspec.json.decode(row["typed"])
    time = columns.get("captured_at")
    return {**columns, "captured_at": datetime.fromisoformat(time)} if isinstance(time, str) else columns


def _typed(name: str, candidate: dict[str, Any]) -> str:
    """A candidate as JSON: the columns that its file states, and where its image was looked for."""
    stated = {column: candidate[column] for column in (*STATED[name], "source_uri") if column in candidate}
    maps = {column: dict(value) for column, value in stated.items() if column in TEXT_COLUMNS and value is not None}
    return msgspec.json.encode(stated | maps).decode()
