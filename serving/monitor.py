"""Spark + delta-rs glue: has what a model sees, and says, moved away from a baseline? `lakesight monitor`.

Reads `predictions`, `images`, `image_properties`; writes `predictions_profile_metrics`, `predictions_drift_metrics`,
`vision_drift_metrics` and `alerts`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from lakesight import delta, spark
from lakesight.config import Config
from lakesight.progress import step
from lakesight.sections import MonitorConfig
from lakesight.tables import ALERTS, VISION_DRIFT_METRICS
from lakesight.warehouse import Warehouse
from quality.drift import Finding, Pair, judge
from quality.profile import sample
from serving.figures import FIGURES, SCOPES, read_figures
from serving.importing import imported_version
from serving.profiling import Monitored, Slice, drift_rows, find_slices, profile_rows
from training.register import resolve

READ = ("predictions", "images", "image_properties")
COLUMNS = (*FIGURES, "status")


@dataclass(frozen=True)
class Drift:
    """The verdict on one figure in one slice."""

    part: Slice
    scope: str
    finding: Finding
    num_current: int
    num_baseline: int


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """What was compared, and what moved."""

    run_id: str
    model_name: str
    model_version: str
    dataset: str
    baseline: str
    num_images: int
    num_baseline: int
    drifts: tuple[Drift, ...]
    """Every figure that was tested, drifted or not."""
    reused: bool
    """The same comparison was recorded before: no row was added."""

    @property
    def drifted(self) -> bool:
        """Something moved."""
        return any(drift.finding.is_drift for drift in self.drifts)


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What a monitor is about: with equal fields, equal `monitor_version`."""

    model_name: str
    model_version: str
    dataset: str
    baseline: str
    config: MonitorConfig

    @property
    def monitor_version(self) -> int:
        """A number for the definition, since Lakehouse Monitoring's tables have no column for data set or model."""
        definition = (self.model_name, self.dataset, self.baseline, self.config)
        return int.from_bytes(hashlib.sha256(repr(definition).encode()).digest()[:4])


def monitor(
    warehouse: Warehouse,
    config: Config,
    *,
    model: str,
    dataset: str,
    baseline_dataset: str,
    baseline_split: str | None,
) -> MonitorReport:
    """Profile predictions of a data set, compare them with the baseline's, and raise alerts for what moved.

    Raises:
        ConfigError: a slice is no SQL over `images`.
        UserError: no such model, or it has not scored the data set or the baseline.
    """
    name, names = _names(warehouse, model)
    baseline = baseline_dataset + (f"/{baseline_split}" if baseline_split else "")
    subject = _Subject(
        model_name=name, model_version=names[0], dataset=dataset, baseline=baseline, config=config.monitor
    )
    with step(f"compare {dataset} with {baseline}"):
        session = spark.session(warehouse, config.spark)
        versions = delta.versions(warehouse, *READ)
        read = partial(read_figures, warehouse, session, config.monitor, model_name=name, model_versions=names)
        current = read(dataset=dataset, split=None)
        before = read(dataset=baseline_dataset, split=baseline_split)
        monitored = Monitored(
            current=current,
            baseline=before,
            columns=COLUMNS,
            slices=find_slices(current, config.monitor.slices),
            granularity=config.monitor.granularity,
            min_images=config.monitor.min_images,
        )
        drifts = _judge(monitored, config.monitor)
        run_id = f"monitor-{_fingerprint(subject, monitored)}"
        added = _record(warehouse, run_id, subject, monitored, drifts, versions)
    return MonitorReport(
        run_id=run_id,
        model_name=name,
        model_version=names[0],
        dataset=dataset,
        baseline=baseline,
        num_images=current.num_rows,
        num_baseline=before.num_rows,
        drifts=tuple(drifts),
        reused=not added,
    )


def _names(warehouse: Warehouse, model: str) -> tuple[str, list[str]]:
    """A model's name and what its version goes by in `predictions`: its own name first, then its training run's."""
    if (imported := imported_version(warehouse, model)) is not None:
        return imported[0], [imported[1]]
    ref = resolve(warehouse, model)
    return ref.name, list(dict.fromkeys(filter(None, [ref.version, ref.run_id])))


def _judge(monitored: Monitored, config: MonitorConfig) -> list[Drift]:
    subjects = list(_pairs(monitored))
    findings = judge([pair for _, _, pair in subjects], p_value=config.p_value, min_effect=config.min_effect)
    return [
        Drift(part, scope, finding, len(pair.current), len(pair.baseline))
        for (part, scope, pair), finding in zip(subjects, findings, strict=True)
    ]


def _pairs(monitored: Monitored) -> Iterator[tuple[Slice, str, Pair]]:
    """Every figure of every slice with enough images that have it on both sides."""
    for part in monitored.slices:
        now, then = part.of(monitored.current), monitored.baseline_of(part)
        for scope, figures in SCOPES.items():
            for figure in figures:
                pair = Pair(figure, sample(now[figure]), sample(then[figure]))
                if min(len(pair.current), len(pair.baseline)) >= monitored.min_images:
                    yield part, scope, pair


def _fingerprint(subject: _Subject, monitored: Monitored) -> str:
    """Of all that the rows depend on. Not of table versions: they move when anything else is written."""
    digest = hashlib.sha256(repr(subject).encode())
    for table in (monitored.current, monitored.baseline):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.combine_chunks())
        digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def _record(
    warehouse: Warehouse,
    run_id: str,
    subject: _Subject,
    monitored: Monitored,
    drifts: list[Drift],
    versions: dict[str, int],
) -> bool:
    """Write all four tables, each once; whether any row was new."""
    shared = {"model_version": subject.model_version, "monitor_version": subject.monitor_version}
    mine = f"monitor_version = {subject.monitor_version} AND model_version = '{subject.model_version}'"
    profiled = shared | {"logging_table_commit_version": versions["predictions"]}
    vision = _vision_rows(run_id, subject, drifts, versions)
    added = [
        delta.commit(warehouse, name, rows, app_id=run_id, txn=1, replacing=replacing)
        for name, rows, replacing in (
            # A window that is still open grows: its profile is replaced, as Lakehouse Monitoring does on a refresh.
            ("predictions_profile_metrics", profile_rows(monitored, profiled), mine),
            ("predictions_drift_metrics", drift_rows(monitored, shared), mine),
            ("vision_drift_metrics", pa.Table.from_pylist(vision, schema=VISION_DRIFT_METRICS.arrow), None),
            ("alerts", pa.Table.from_pylist(_alerts(vision), schema=ALERTS.arrow), None),
        )
    ]
    return any(added)


def _vision_rows(run_id: str, subject: _Subject, drifts: list[Drift], versions: dict[str, int]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "run_id": run_id,
            "model_name": subject.model_name,
            "model_version": subject.model_version,
            "dataset": subject.dataset,
            "baseline": subject.baseline,
            "slice_key": drift.part.key,
            "slice_value": drift.part.value,
            "scope": drift.scope,
            "metric": drift.finding.pair.name,
            "method": drift.finding.method,
            "effect": drift.finding.effect,
            "effect_threshold": drift.finding.effect_threshold,
            "p_value": drift.finding.p_value,
            "p_threshold": subject.config.p_value,
            "is_drift": drift.finding.is_drift,
            "n_baseline": drift.num_baseline,
            "n_current": drift.num_current,
            "table_versions": list(versions.items()),
            "computed_at": now,
        }
        for drift in drifts
    ]


def _alerts(vision: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_alert(row) for row in vision if row["is_drift"]]


def _alert(row: dict[str, Any]) -> dict[str, Any]:
    identity = (VISION_DRIFT_METRICS.name, row["run_id"], row["slice_key"], row["slice_value"], row["metric"])
    where = f" where {row['slice_key']} is {row['slice_value']}" if row["slice_key"] else ""
    evidence = {key: row[key] for key in ("method", "p_value", "p_threshold", "n_baseline", "n_current", "scope")}
    same = ("run_id", "dataset", "model_name", "model_version", "slice_key", "slice_value", "metric")
    return {
        **{key: row[key] for key in same},
        "alert_id": hashlib.sha256(repr(identity).encode()).hexdigest(),
        "source": VISION_DRIFT_METRICS.name,
        "value": row["effect"],
        "threshold": row["effect_threshold"],
        "severity": "error",
        "message": f"{row['metric']} of {row['dataset']}{where} has moved away from {row['baseline']}: "
        f"effect {row['effect']:.2f}, chance and limit explain {row['effect_threshold']:.2f}",
        "evidence": json.dumps(evidence | {"baseline": row["baseline"], "table_versions": dict(row["table_versions"])}),
        "raised_at": row["computed_at"],
    }
