"""What each verb prints when it is done: at most a screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.build import BuildReport
    from features.preview import PreviewReport
    from ingestion.export.export import ExportReport
    from ingestion.load import IngestReport
    from ingestion.look import Report as StreamReport
    from ingestion.replay import ReplayReport
    from lakesight.merge import Change
    from quality.check import CheckReport
    from quality.evaluate import EvaluateReport
    from quality.refusals import Refusals
    from quality.results import RuleResult
    from serving.importing import ImportReport
    from serving.monitor import MonitorReport
    from serving.predict import PredictReport
    from serving.results import ResultsReport
    from serving.server import Addresses
    from training.fit import TrainReport
    from training.preflight import Finding
    from training.register import ModelVersion
    from training.reproduce import Reproduction
    from training.tune import TuneReport

WORST = 5
STANDS = {
    "waiting": "no annotation file names them",
    "expected": "named, but not there yet",
    "refused": "looked at again when they change",
    "gone": "no longer in the folder; their rows stay, unless they were moved",
}
"""What `arrivals.status` means, of files that need someone."""
MAX_RULES = 30


def ingested(report: "IngestReport") -> None:
    """Rows a table, and what was refused."""
    _print(_changes(report.changes))
    for note in report.notes:
        _print(f"note: {note}", markup=False)
    if report.quarantined:
        reasons = ", ".join(f"{rule} {count:,}" for rule, count in report.quarantined.items())
        _print(
            f"refused: {reasons}\n  see `lakesight quarantine list`; mend the files and `lakesight quarantine replay`"
        )


def exported(report: "ExportReport") -> None:
    """What was written, and of which versions."""
    versions = ", ".join(f"{name} v{version}" for name, version in report.versions.items())
    counts = f"{report.num_images:,} images, {report.num_annotations:,} annotations"
    _print(f"{report.to}: {counts} of data set {report.dataset} ({versions})", markup=False)
    if report.num_left_out:
        _print(f"left out: {report.num_left_out:,} annotations that the format cannot say")


def results_exported(report: "ResultsReport") -> None:
    """Whose detections were written."""
    model = f"{report.model_name}/{report.model_version}"
    counts = f"{report.num_detections:,} detections on {report.num_images:,} images"
    _print(f"{report.to}: {counts}, by {model}", markup=False)


def streamed(report: "StreamReport") -> None:
    """Rows a table, where there are any; how the watched files stand, and which need someone."""
    if any(change.added or change.updated or change.removed for change in report.changes.values()):
        _print(_changes(report.changes))
    for note in report.notes:
        _print(f"note: {note}", markup=False)
    counts = ", ".join(f"{status} {count:,}" for status, count in report.files.items())
    _print(f"files: {counts or 'none'}")
    for status, what in STANDS.items():
        if names := report.examples.get(status):
            more = ", ..." if report.files[status] > len(names) else ""
            _print(f"  {status} ({what}): {', '.join(names)}{more}", markup=False)
    for path, reason in list(report.reasons.items())[:WORST]:
        _print(f"  {path}: {reason.splitlines()[0]}", markup=False)
    if set(STANDS) & set(report.files):
        _print('  see `lakesight sql "SELECT * FROM arrivals"` and `... FROM quarantine_reasons`', markup=False)


def _changes(changes: "Mapping[str, Change]") -> Grid:
    grid = _grid("table", "added", "updated", "removed")
    for name, change in changes.items():
        grid.add_row(name, f"{change.added:,}", f"{change.updated:,}", f"{change.removed:,}")
    return grid


def checked(report: "CheckReport", gallery: Path | None = None) -> None:
    """The worst rules, the verdict, what to do."""
    broken = sorted((r for r in report.results if r.unexpected and r.rule.severity != "info"), key=_rank)
    grid = _grid("data set", "rule", "severity", "in table", "in quarantine", "example")
    for result in broken[:WORST]:
        counts = (f"{result.in_table:,}", f"{result.in_quarantine:,}")
        grid.add_row(
            result.dataset, result.rule.name, result.rule.severity, *counts, escape((result.observed or "")[:40])
        )
    if broken:
        _print(grid)
    if len(broken) > WORST:
        _print(f'and {len(broken) - WORST} more rules; `lakesight sql "SELECT * FROM quality_results"` has all')
    verdict = "[red]failed[/]" if report.failed else "[green]passed[/]"
    _print(f"check {verdict}: {len(report.results)} results, report: {report.data_docs}")
    if gallery:
        _print(f"pictures: {gallery}", markup=False)
    if report.advice:
        _print(f"to do: {report.advice}", markup=False)


def _rank(result: "RuleResult") -> tuple[bool, bool, int]:
    return (result.rule.severity != "error", result.in_table == 0, -result.unexpected)


def refused(found: "list[Refusals]") -> None:
    """A line a rule, most records first."""
    if not found:
        _print("quarantine is empty")
        return
    grid = _grid("data set", "table", "rule", "records", "example")
    for one in found[:MAX_RULES]:
        grid.add_row(one.dataset, one.table, one.rule, f"{one.records:,}", escape(one.example[:60]))
    _print(grid)
    if len(found) > MAX_RULES:
        _print(f"and {len(found) - MAX_RULES} more; --format json gives all")
    _print("mend the files, then `lakesight quarantine replay` or ingest them again")


def replayed(report: "ReplayReport") -> None:
    """What came back, and what did not."""
    _print(f"{report.taken_back:,} records taken back, {report.still_refused:,} are still refused")
    for name, change in report.changes.items():
        if name != "quarantine" and (change.added or change.updated):
            _print(f"  {name}: {change.added:,} added, {change.updated:,} updated")
    if report.unknown_sources:
        names = ", ".join(report.unknown_sources[:WORST])
        _print(f"their ingest never ended, run it again: {names}", markup=False)


def built(report: "BuildReport") -> None:
    """What changed in samples."""
    _print(f"samples v{report.version}: {report.added:,} added, {report.updated:,} updated, {report.removed:,} removed")
    if report.leaks:
        _print(f"[yellow]{report.leaks:,} groups of near duplicates lie in more than one stated split[/]")


def previewed(report: "PreviewReport") -> None:
    """Where the sheet is."""
    _print(f"{len(report.image_ids)} images of samples v{report.version}: {report.path}")


def trained(report: "TrainReport") -> None:
    """The run and its last numbers."""
    how = "re-used, nothing has changed (--force trains anew)" if report.reused else "finished"
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in sorted(report.metrics.items()))
    _print(f"{report.run_id} {how}\n  {metrics}\n  next: lakesight evaluate, lakesight register")


def diagnosed(findings: "Sequence[Finding]") -> None:
    """Every check, and what to do."""
    grid = _grid("", "check", "found")
    marks = {"good": "[green]good[/]", "warn": "[yellow]warn[/]", "bad": "[red]bad[/]"}
    for finding in findings:
        grid.add_row(marks[finding.verdict], finding.check, finding.what)
        if finding.fix:
            grid.add_row("", "", f"[dim]to do: {finding.fix}[/]")
    _print(grid)


def reproduced(report: "Reproduction") -> None:
    """Every number of both runs, or that they are equal."""
    for difference in report.surroundings:
        _print(f"not as it was: {difference}", markup=False)
    if report.equal:
        _print(f"[green]the same[/]: {len(report.metrics)} numbers of {report.run_id} and {report.again} are equal")
        return
    grid = _grid("metric", report.run_id, report.again)
    for name, (before, now) in report.metrics.items():
        if before != now:
            grid.add_row(name, f"{before}", f"{now}")
    _print(grid)


def tuned(report: "TuneReport") -> None:
    """The best trial."""
    best = ", ".join(f"{name}={value}" for name, value in report.best_params.items())
    _print(f"{report.run_id}: {report.num_trials} trials, best {report.metric} {report.best_value:.3f} with {best}")
    _print(f"  see `lakesight sql \"SELECT * FROM tune_trials WHERE run_id = '{report.run_id}'\"`")
    _print(f"train it: lakesight train --config {report.config_path}", markup=False)


def evaluated(report: "EvaluateReport") -> None:
    """The numbers over all classes: of boxes or classes, and of masks where there are some."""
    _print(
        f"{report.model_name}/{report.model_version} on {report.dataset}/{report.split}: {report.num_images:,} images,"
    )
    _print(f"{report.num_annotations:,} annotations, {report.num_detections:,} detections")
    masks = report.mask_stats.overall if report.mask_stats else ()
    grid = _grid("metric", "IoU", "area", "detections", "value", *(["of masks"] if masks else []))
    for place, m in enumerate(report.stats.overall):
        values = ["-" if one.value is None else f"{one.value:.3f}" for one in (m, *masks[place : place + 1])]
        grid.add_row(m.metric, m.iou or "-", m.area_range, str(m.max_detections), *values)
    _print(grid)


def registered(version: "ModelVersion") -> None:
    """The version, and how to use it."""
    _print(f"{version.name} version {version.version}\n  next: lakesight promote {version.name}")


def promoted(version: "ModelVersion", alias: str) -> None:
    """Where the alias points."""
    _print(
        f"{version.name}@{alias} is version {version.version}\n  next: lakesight predict --model {version.name}@{alias}"
    )


def predicted(report: "PredictReport") -> None:
    """How many images, how fast."""
    rest = report.num_images - report.num_scored
    rate = f", {report.num_scored / report.elapsed_s:,.0f} images/s with start-up" if report.num_scored else ""
    _print(f"{report.model_name}/{report.model_version}: {report.num_scored:,} images scored{rate}")
    _print(f"  {report.num_failed:,} could not be scored, {rest:,} had been scored before")


def imported(report: "ImportReport") -> None:
    """What the file covered."""
    splits = ", ".join(split or "(no split)" for split in report.splits)
    _print(f"{report.model_name}/{report.model_version}: {report.num_detections:,} detections on {report.num_images:,}")
    _print(f"images of {report.dataset}/{splits}; {report.num_added:,} images added")


def monitored(report: "MonitorReport") -> None:
    """What drifted."""
    _print(f"{report.model_name}/{report.model_version}: {report.num_images:,} images of {report.dataset}")
    _print(f"against {report.num_baseline:,} of {report.baseline}")
    found = sorted((d for d in report.drifts if d.finding.is_drift), key=lambda d: -d.finding.effect)
    if not found:
        _print("[green]no drift[/]")
        return
    grid = _grid("slice", "scope", "metric", "effect", "threshold", "p")
    for drift in found[: 2 * WORST]:
        finding = drift.finding
        numbers = (f"{finding.effect:.2f}", f"{finding.effect_threshold:.2f}", f"{finding.p_value:.2g}")
        grid.add_row(drift.part.value or "(all)", drift.scope, finding.pair.name, *numbers)
    _print(f"[red]drift[/] in {len(found)} of {len(report.drifts)} figures:")
    _print(grid)


def served(at: "Addresses") -> None:
    """Where a server listens, and how to connect."""
    _print(f"JDBC     {at.jdbc}\n  beeline -u {at.jdbc}", markup=False)
    _print(f"Connect  {at.connect}", markup=False)
    _print(f'  SparkSession.builder.remote("{at.connect}").getOrCreate()', markup=False)
    _print(f"  lakesight VERB ... --set spark.remote={at.connect}\nCtrl-C ends it", markup=False)


def piped(schema: str, rows: dict[str, int]) -> None:
    """Rows of the pipeline's tables."""
    grid = _grid("table", "rows")
    for name, count in rows.items():
        grid.add_row(f"{schema}.{name}", f"{count:,}")
    _print(grid)


def _grid(*columns: str) -> Grid:
    grid = Grid(show_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column)
    return grid


def _print(what: str | Grid, *, markup: bool = True) -> None:
    Console(highlight=False, soft_wrap=isinstance(what, str)).print(what, markup=markup)
