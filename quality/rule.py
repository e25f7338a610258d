"""What a rule is (pure).

A rule is a Spark SQL boolean over one table's columns and its *context* columns (`quality/context.py` makes them from
tables, ingestion from a file). As in an SQL CHECK, a row breaks a rule where it is FALSE; NULL holds, so that each
predicate speaks of one defect only.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `error`: such a record is refused at ingestion, and in a table it fails `check`."""

    name: str
    table: str
    column: str
    predicate: str
    severity: Severity
    message: str
    fix: str
    observed: str = ""
    """Spark SQL of what to show of a broken row; the column if empty."""

    @property
    def evidence(self) -> str:
        """Spark SQL, a string: what is wrong in a broken row."""
        return f"CAST({self.observed or self.column} AS STRING)"


def parsed(table: str, name: str) -> Rule:
    """A record could be typed."""
    return Rule(
        name=name,
        table=table,
        column="record",
        predicate=f"refused_by <> '{name}'",
        severity="error",
        message="the record is not as its format says",
        fix="correct the record in the annotation file and ingest it again",
        observed="refused_because",
    )


def unique(table: str, name: str, column: str) -> Rule:
    """An id is used once."""
    return Rule(
        name=name,
        table=table,
        column=column,
        predicate="NOT id_taken",
        severity="error",
        message="the data set has this id already, for something else; the first one stays",
        fix="give each record of a data set an id of its own, or ingest the file under another --dataset",
    )
