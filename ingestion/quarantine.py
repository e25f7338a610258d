"""Refused candidates -> rows of `quarantine`, and back to records (pure)."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.formats.coco import from_json
from ingestion.records import SCHEMAS, STATED, Records
from ingestion.rows import Run
from lakesight.tables import LONG, QUARANTINE, TABLES

TEXT_COLUMNS = ("metadata", "attributes")


def quarantine_rows(refused: Mapping[str, pa.Table], run: Run, source_uri: str) -> pa.Table:
    """One row for each different record of each table's refused candidates.

    `record_hash` is of data set, table, record and the rules' names: the same refusal is the same row on every run.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, table in refused.items():
        for candidate in table.to_pylist():
            record = candidate["record"] or _record(name, candidate)
            names = ",".join(error["rule"] for error in candidate["errors"])
            key = hashlib.sha256("\n".join([run.dataset, name, record, names]).encode()).hexdigest()
            rows[key] = {
                "dataset": run.dataset,
                "table_name": name,
                "source_uri": source_uri,
                "record": record,
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
    """The records of rows of `quarantine`: those that had been typed as they were, others through COCO's parser."""
    typed: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    untyped: dict[str, list[bytes]] = {name: [] for name in SCHEMAS}
    for row in rows:
        record = _decoded(row["record"])
        if TABLES[row["table_name"]].key[1] in record:
            typed[row["table_name"]].append(_typed(record))
        else:
            untyped[row["table_name"]].append(row["record"].encode())
    parsed = from_json(**untyped)
    tables = {}
    for name, schema in SCHEMAS.items():
        both = pa.concat_tables([pa.Table.from_pylist(typed[name], schema=schema), getattr(parsed, name)])
        tables[name] = both.set_column(
            schema.get_field_index("ordinal"), schema.field("ordinal"), pa.array(range(both.num_rows), LONG)
        )
    return Records(**tables)


def _decoded(record: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(record)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    time = record.get("captured_at")
    return {**record, "captured_at": datetime.fromisoformat(time)} if time else record


def _record(name: str, candidate: dict[str, Any]) -> str:
    """A candidate as JSON: the columns that its file states."""
    stated = {column: candidate[column] for column in STATED[name] if column in candidate}
    maps = {column: dict(value) for column, value in stated.items() if column in TEXT_COLUMNS and value is not None}
    return msgspec.json.encode(stated | maps).decode()
