"""What a check found, as rows of `quality_results` and back; what it means for the gate (pure)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from quality.rule import Rule

FailOn = Literal["error", "warn", "never"]
FAILS_ON: dict[FailOn, tuple[str, ...]] = {"error": ("error",), "warn": ("error", "warn"), "never": ()}
COUNTS = ("rows", "in_table", "in_quarantine", "refused", "new_unexpected")


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """One rule on one data set: a row of `quality_results`, told in rows of the table and of quarantine."""

    rule: Rule
    dataset: str
    rows: int
    in_table: int
    in_quarantine: int
    refused: int
    """Records of the table in quarantine, for whatever reason."""
    new_unexpected: int | None
    """Great Expectations' count in rows that no check had seen, of all data sets; None: there were none."""
    observed: str | None

    @property
    def unexpected(self) -> int:
        """Rows and records that break the rule."""
        return self.in_table + self.in_quarantine


def to_row(result: RuleResult, *, version: int, run_id: str, rules_hash: str, checked_at: datetime) -> dict[str, Any]:
    """A row of `quality_results`."""
    rule, elements = result.rule, result.rows + result.refused
    details = {name: getattr(result, name) for name in COUNTS} | {"message": rule.message, "fix": rule.fix}
    return {
        "run_id": run_id,
        "suite": rule.table,
        "rule": rule.name,
        "dataset": result.dataset,
        "table_name": rule.table,
        "table_version": version,
        "column": rule.column,
        "severity": rule.severity,
        "success": result.unexpected == 0,
        "element_count": elements,
        "unexpected_count": result.unexpected,
        "unexpected_percent": 100.0 * result.unexpected / elements if elements else 0.0,
        "observed_value": result.observed,
        "details": json.dumps(details),
        "rules_hash": rules_hash,
        "checked_at": checked_at,
    }


def from_row(row: Mapping[str, Any], rule: Rule) -> RuleResult:
    """The result that `to_row` made a row of."""
    details = json.loads(row["details"])
    counts = {name: details[name] for name in COUNTS}
    return RuleResult(rule=rule, dataset=row["dataset"], observed=row["observed_value"], **counts)


def failing(results: Sequence[RuleResult], fail_on: FailOn) -> list[RuleResult]:
    """What fails the check: rules of that severity or worse, broken by rows of a table."""
    return [r for r in results if r.in_table and r.rule.severity in FAILS_ON[fail_on]]


def advice(failed: Sequence[RuleResult], results: Sequence[RuleResult]) -> str:
    """What to do about the rule that most rows of a table break - else, that most refused records do."""
    if failed:
        worst = max(failed, key=lambda r: (r.rule.severity == "error", r.in_table))
        example = f" (e.g. {worst.observed})" if worst.observed else ""
        count = f"{worst.in_table} rows of {worst.rule.table} in {worst.dataset!r}"
        return f"{worst.rule.name}: {count}: {worst.rule.message}{example}. To do: {worst.rule.fix}."
    refused = [r for r in results if r.in_quarantine]
    if refused:
        worst = max(refused, key=lambda r: r.in_quarantine)
        count = f"{worst.in_quarantine} refused records of {worst.dataset!r}"
        return f"{worst.rule.name}: {count}: {worst.rule.message}. To do: {worst.rule.fix}."
    return ""
