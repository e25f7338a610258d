"""Refused candidates -> rows of `quarantine` (pure)."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from ingestion.rows import Run
from lakesight.tables import QUARANTINE, TABLES

NOT_IN_RECORDS = {"dataset", "ingested_at", "run_id"}


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


def _record(name: str, candidate: dict[str, Any]) -> str:
    """A candidate as JSON: the table's columns as far as the file states them."""
    stated = (c.name for c in TABLES[name].columns if c.name not in NOT_IN_RECORDS)
    return msgspec.json.encode({column: candidate[column] for column in stated if column in candidate}).decode()
