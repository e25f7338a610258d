"""Spark glue: the rules over the tables at pinned versions -> `quality_results` and Data Docs: `lakesight check`.

Counts cover the rows in a table and the records that were refused before they reached it. The gate looks at the
tables alone: a refused record has been dealt with - it is reported, not failed on - whereas a bad row in a table
will be trained on. So a data set with planted defects passes, with each defect named in `quality_results`.
A second check of the same versions by the same rules finds its result there and adds nothing.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import delta, spark
from lakesight.config import CheckConfig, Config
from lakesight.errors import TableError
from lakesight.progress import step
from lakesight.tables import QUALITY_RESULTS
from lakesight.warehouse import Warehouse
from quality.context import SOURCES, with_context
from quality.rules import Rule, fingerprint, of_table, rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DOCS = "data_docs"
FAILS_ON = {"error": ("error",), "warn": ("error", "warn"), "never": ()}


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
    observed: str | None

    @property
    def unexpected(self) -> int:
        """Rows and records that break the rule."""
        return self.in_table + self.in_quarantine


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A check: what each rule found, whether it fails by `check.fail_on`, and where to read more."""

    run_id: str
    results: tuple[RuleResult, ...]
    failed: bool
    data_docs: Path
    advice: str
    """What to do first; empty if nothing is wrong."""


def check(warehouse: Warehouse, config: Config, *, dataset: str | None = None) -> CheckReport:
    """Evaluate every rule on a data set, or on all.

    Raises:
        TableError: there is no such data set, or none at all.
    """
    active = rules(config.check)
    versions = delta.versions(warehouse, *SOURCES, "quarantine")
    refused = _refused(warehouse, versions["quarantine"])
    datasets = _datasets(warehouse, dataset, versions, {name for name, _, _ in refused})
    run_id = _run_id(active, versions, dataset)
    docs = warehouse.state(DOCS)
    known = _known(warehouse, run_id, active)
    if known is None or not (docs / "index.html").exists():
        known = _evaluate(warehouse, config, active, versions, datasets, docs, run_id, refused)
        _record(warehouse, known, versions, run_id)
    return _report(known, config.check, docs / "index.html", run_id)


Refused = dict[tuple[str, str, str | None], int]
"""Records in quarantine by (data set, table, rule); rule None: of the table in all."""


def _refused(warehouse: Warehouse, version: int) -> Refused:
    table = delta.read(warehouse, "quarantine", columns=["dataset", "table_name", "errors"], version=version)
    counts: Counter[tuple[str, str, str | None]] = Counter()
    for row in table.to_pylist():
        counts[row["dataset"], row["table_name"], None] += 1
        for rule in {error["rule"] for error in row["errors"]}:
            counts[row["dataset"], row["table_name"], rule] += 1
    return dict(counts)


def _datasets(warehouse: Warehouse, dataset: str | None, versions: Mapping[str, int], refused: set[str]) -> list[str]:
    there = set(refused)
    for table in ("images", "categories"):
        names = delta.read(warehouse, table, columns=["dataset"], version=versions[table])["dataset"]
        there |= set(pc.unique(names).to_pylist())
    if not there or (dataset is not None and dataset not in there):
        raise TableError(
            f"there is no data set {dataset!r}" if dataset else "nothing has been ingested",
            where=str(warehouse.root),
            expected=f"one of {', '.join(sorted(there))}" if there else "at least one data set",
            fix="check --dataset" if there else "run `lakesight ingest` first",
        )
    return sorted(there) if dataset is None else [dataset]


def _run_id(active: Sequence[Rule], versions: Mapping[str, int], dataset: str | None) -> str:
    what = json.dumps([fingerprint(active), sorted(versions.items()), dataset])
    return f"check-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _evaluate(
    warehouse: Warehouse,
    config: Config,
    active: Sequence[Rule],
    versions: Mapping[str, int],
    datasets: Sequence[str],
    docs: Path,
    run_id: str,
    refused: Refused,
) -> tuple[RuleResult, ...]:
    from quality import expectations

    # Seconds of Python, while Spark works in the JVM: side by side.
    loading = threading.Thread(target=expectations.load)
    loading.start()
    with step("Starting Spark"):
        session = spark.session(warehouse, config.spark)
    by_table = {name: of_table(name, active) for name in SOURCES}
    with step(f"Evaluating {len(active)} rules"):
        names = ", ".join(spark.quote(name) for name in datasets)
        tables = {
            name: flags(frame.where(f"dataset IN ({names})"), by_table[name]).cache()
            for name, frame in with_context(session, warehouse, versions).items()
        }
        found = {name: _aggregate(frame, by_table[name]) for name, frame in tables.items()}
    with step("Great Expectations: validation and Data Docs"):
        loading.join()
        expectations.validate(tables, by_table, docs, run_id)
    for frame in tables.values():
        frame.unpersist()
    return tuple(_result(rule, name, found[rule.table].get(name, {}), refused) for name in datasets for rule in active)


def flags(frame: "DataFrame", some: Sequence[Rule]) -> "DataFrame":
    """A table with context -> data set, and for each rule its boolean and, where FALSE, what was observed."""
    held = [f"{rule.predicate} AS {rule.name}" for rule in some]
    seen = [f"CASE WHEN NOT ({rule.predicate}) THEN {rule.evidence} END AS {rule.name}__observed" for rule in some]
    return frame.selectExpr("dataset", *held, *seen)


def _aggregate(frame: "DataFrame", some: Sequence[Rule]) -> dict[str, dict[str, Any]]:
    """Per data set: rows, rows that break each rule, and one of them; in one pass."""
    from pyspark.sql.functions import expr

    broken = [expr(f"count_if(NOT {rule.name}) AS {rule.name}") for rule in some]
    seen = [expr(f"min({rule.name}__observed) AS {rule.name}__observed") for rule in some]
    rows = frame.groupBy("dataset").agg(expr("count(*) AS num_rows"), *broken, *seen).collect()
    return {row["dataset"]: row.asDict() for row in rows}


def _result(rule: Rule, dataset: str, found: Mapping[str, Any], refused: Refused) -> RuleResult:
    return RuleResult(
        rule=rule,
        dataset=dataset,
        rows=found.get("num_rows", 0),
        in_table=found.get(rule.name, 0),
        in_quarantine=refused.get((dataset, rule.table, rule.name), 0),
        refused=refused.get((dataset, rule.table, None), 0),
        observed=found.get(f"{rule.name}__observed"),
    )


def _record(warehouse: Warehouse, results: Sequence[RuleResult], versions: Mapping[str, int], run_id: str) -> None:
    now = datetime.now(UTC)
    rows = [_row(result, versions[result.rule.table], run_id, now) for result in results]
    table = pa.Table.from_pylist(rows, schema=QUALITY_RESULTS.arrow)
    delta.commit(warehouse, QUALITY_RESULTS.name, table, app_id=run_id, txn=1)


def _row(result: RuleResult, version: int, run_id: str, now: datetime) -> dict[str, Any]:
    rule, elements = result.rule, result.rows + result.refused
    details = {
        "in_table": result.in_table,
        "in_quarantine": result.in_quarantine,
        "rows": result.rows,
        "refused": result.refused,
        "message": rule.message,
        "fix": rule.fix,
    }
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
        "checked_at": now,
    }


def _known(warehouse: Warehouse, run_id: str, active: Sequence[Rule]) -> tuple[RuleResult, ...] | None:
    """The results of the same check, if it has been made."""
    rows = delta.read(warehouse, QUALITY_RESULTS.name, where=pc.field("run_id") == run_id).to_pylist()
    by_name = {rule.name: rule for rule in active}
    return tuple(_from_row(row, by_name[row["rule"]]) for row in rows) or None


def _from_row(row: Mapping[str, Any], rule: Rule) -> RuleResult:
    details = json.loads(row["details"])
    return RuleResult(
        rule=rule,
        dataset=row["dataset"],
        rows=details["rows"],
        in_table=details["in_table"],
        in_quarantine=details["in_quarantine"],
        refused=details["refused"],
        observed=row["observed_value"],
    )


def _report(results: tuple[RuleResult, ...], config: CheckConfig, docs: Path, run_id: str) -> CheckReport:
    failing = [r for r in results if r.in_table and r.rule.severity in FAILS_ON[config.fail_on]]
    return CheckReport(
        run_id=run_id, results=results, failed=bool(failing), data_docs=docs, advice=_advice(failing, results)
    )


def _advice(failing: Sequence[RuleResult], results: Sequence[RuleResult]) -> str:
    """What to do about the rule that most rows of a table break - else, that most refused records do."""
    if failing:
        worst = max(failing, key=lambda r: r.in_table)
        example = f" (e.g. {worst.observed})" if worst.observed else ""
        count = f"{worst.in_table} rows of {worst.rule.table} in {worst.dataset!r}"
        return f"{worst.rule.name}: {count}: {worst.rule.message}{example}. To do: {worst.rule.fix}."
    refused = [r for r in results if r.in_quarantine]
    if refused:
        worst = max(refused, key=lambda r: r.in_quarantine)
        count = f"{worst.in_quarantine} refused records of {worst.dataset!r}"
        return f"{worst.rule.name}: {count}: {worst.rule.message}. To do: {worst.rule.fix}."
    return ""
