"""Spark glue: the rules over the tables at pinned versions -> `quality_results` and Data Docs: `lakesight check`.

Counts cover the rows in a table and the records that were refused before they reached it. The gate looks at the
tables alone: a refused record has been dealt with - it is reported, not failed on - whereas a bad row in a table
will be trained on. So a data set with planted defects passes, with each defect named in `quality_results`.
Counts come from one aggregate a table, over all of its rows; Great Expectations validates the rows that are new.
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

from lakesight import datasets, delta, spark
from lakesight.config import Config
from lakesight.progress import step
from lakesight.tables import QUALITY_RESULTS
from lakesight.warehouse import Warehouse
from quality.context import CHECKED, SOURCES, with_context
from quality.results import FailOn, RuleResult, advice, failing, from_row, to_row
from quality.rule import Rule
from quality.rules import fingerprint, of_table, rules
from quality.unseen import unseen_runs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DOCS = "data_docs"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A check: what each rule found, whether it fails by `check.fail_on`, and where to read more."""

    run_id: str
    versions: dict[str, int]
    """Delta version of every table that was read."""
    results: tuple[RuleResult, ...]
    failed: bool
    data_docs: Path
    advice: str
    """What to do first; empty if nothing is wrong."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is checked, by which rules."""

    active: tuple[Rule, ...]
    rules_hash: str
    versions: dict[str, int]
    datasets: list[str]
    refused: "Refused"
    run_id: str
    docs: Path

    @property
    def by_table(self) -> dict[str, tuple[Rule, ...]]:
        return {name: of_table(name, self.active) for name in CHECKED}


def check(warehouse: Warehouse, config: Config, *, dataset: str | None = None) -> CheckReport:
    """Evaluate every rule on a data set, or on all.

    Raises:
        TableError: there is no such data set, or none at all.
    """
    plan = _plan(warehouse, config, dataset)
    index = plan.docs / "index.html"
    results = _known(warehouse, plan) if index.exists() else None
    if results is None:
        results = _evaluate(warehouse, config, plan)
        _record(warehouse, results, plan)
    return _report(results, config.check.fail_on, plan)


def _plan(warehouse: Warehouse, config: Config, dataset: str | None) -> _Plan:
    active = rules(config.check)
    versions = delta.versions(warehouse, *SOURCES, "quarantine")
    refused = _refused(warehouse, versions["quarantine"])
    rules_hash = fingerprint(active)
    what = json.dumps([rules_hash, sorted(versions.items()), dataset])
    there = datasets.present(warehouse, {name: versions[name] for name in ("images", "categories")})
    there |= {name for name, _, _ in refused}
    return _Plan(
        active=active,
        rules_hash=rules_hash,
        versions=versions,
        datasets=datasets.chosen(warehouse, there, dataset),
        refused=refused,
        run_id=f"check-{hashlib.sha256(what.encode()).hexdigest()[:16]}",
        docs=warehouse.state(DOCS),
    )


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


def _evaluate(warehouse: Warehouse, config: Config, plan: _Plan) -> tuple[RuleResult, ...]:
    from quality import expectations

    # Seconds of Python, while Spark works in the JVM: side by side.
    loading = threading.Thread(target=expectations.load)
    loading.start()
    with step("Starting Spark"):
        session = spark.session(warehouse, config.spark)
    with step(f"Evaluating {len(plan.active)} rules"):
        names = ", ".join(spark.quote(name) for name in plan.datasets)
        new = _new_sql(warehouse, plan)
        tables = {
            name: flags(frame.where(f"dataset IN ({names})"), plan.by_table[name], new[name]).cache()
            for name, frame in with_context(session, warehouse, plan.versions).items()
        }
        found = {name: _aggregate(frame, plan.by_table[name]) for name, frame in tables.items()}
    some_new = [name for name in CHECKED if any(counts["num_new"] for counts in found[name].values())]
    with step("Great Expectations: validation and Data Docs"):
        loading.join()
        slices = {name: tables[name].where("is_new") for name in some_new}
        theirs = expectations.validate(slices, plan.by_table, plan.docs, plan.run_id)
    for frame in tables.values():
        frame.unpersist()
    pairs = [(rule, name) for name in plan.datasets for rule in plan.active]
    return tuple(_result(rule, name, found[rule.table].get(name, {}), plan.refused, theirs) for rule, name in pairs)


def _new_sql(warehouse: Warehouse, plan: _Plan) -> dict[str, str]:
    """For each of `CHECKED` the SQL of whether a row is new since the last check; figures of splits always are."""
    runs = unseen_runs(warehouse, plan.rules_hash, plan.datasets, {name: plan.versions[name] for name in SOURCES})
    everything = not (plan.docs / "index.html").exists()
    return {
        name: "TRUE"
        if everything or (some := runs.get(name)) is None
        else f"array_contains(array({', '.join(map(spark.quote, sorted(some)))}), run_id)"
        for name in CHECKED
    }


def flags(frame: "DataFrame", some: Sequence[Rule], new: str = "TRUE") -> "DataFrame":
    """A table with context -> data set, whether the row is new, each rule's boolean and, where FALSE, the evidence."""
    held = [f"{rule.predicate} AS {rule.name}" for rule in some]
    seen = [f"CASE WHEN NOT ({rule.predicate}) THEN {rule.evidence} END AS {rule.name}__observed" for rule in some]
    return frame.selectExpr("dataset", f"{new} AS is_new", *held, *seen)


def _aggregate(frame: "DataFrame", some: Sequence[Rule]) -> dict[str, dict[str, Any]]:
    """Per data set: rows, new rows, rows that break each rule, and one of them; in one pass."""
    from pyspark.sql.functions import expr

    broken = [expr(f"count_if(NOT {rule.name}) AS {rule.name}") for rule in some]
    seen = [expr(f"min({rule.name}__observed) AS {rule.name}__observed") for rule in some]
    counts = [expr("count(*) AS num_rows"), expr("count_if(is_new) AS num_new")]
    rows = frame.groupBy("dataset").agg(*counts, *broken, *seen).collect()
    return {row["dataset"]: row.asDict() for row in rows}


def _result(
    rule: Rule, dataset: str, found: Mapping[str, Any], refused: Refused, theirs: Mapping[str, int]
) -> RuleResult:
    return RuleResult(
        rule=rule,
        dataset=dataset,
        rows=found.get("num_rows", 0),
        in_table=found.get(rule.name, 0),
        in_quarantine=refused.get((dataset, rule.table, rule.name), 0),
        refused=refused.get((dataset, rule.table, None), 0),
        new_unexpected=theirs.get(rule.name),
        observed=found.get(f"{rule.name}__observed"),
    )


def _record(warehouse: Warehouse, results: Sequence[RuleResult], plan: _Plan) -> None:
    now = datetime.now(UTC)
    # Figures of splits are about boxes.
    versions = plan.versions | {"splits": plan.versions["annotations"]}
    rows = [
        to_row(r, version=versions[r.rule.table], run_id=plan.run_id, rules_hash=plan.rules_hash, checked_at=now)
        for r in results
    ]
    table = pa.Table.from_pylist(rows, schema=QUALITY_RESULTS.arrow)
    delta.commit(warehouse, QUALITY_RESULTS.name, table, app_id=plan.run_id, txn=1)


def _known(warehouse: Warehouse, plan: _Plan) -> tuple[RuleResult, ...] | None:
    """The results of the same check, if it has been made."""
    rows = delta.read(warehouse, QUALITY_RESULTS.name, where=pc.field("run_id") == plan.run_id).to_pylist()
    by_name = {rule.name: rule for rule in plan.active}
    return tuple(from_row(row, by_name[row["rule"]]) for row in rows) or None


def _report(results: tuple[RuleResult, ...], fail_on: FailOn, plan: _Plan) -> CheckReport:
    failed = failing(results, fail_on)
    return CheckReport(
        run_id=plan.run_id,
        versions=plan.versions,
        results=results,
        failed=bool(failed),
        data_docs=plan.docs / "index.html",
        advice=advice(failed, results),
    )
