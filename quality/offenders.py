"""Spark and Delta glue: rows and refused records that break a rule, some of each, for pictures of them."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakesight import delta, spark
from lakesight.config import Config
from lakesight.warehouse import Warehouse
from quality.check import CheckReport
from quality.context import with_context
from quality.results import RuleResult
from quality.rules import errors_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PICTURED = {"images": "NULL", "image_properties": "NULL", "annotations": "annotation_id"}
"""Tables whose rows have an image, and which of its annotations a row is."""


@dataclass(frozen=True, kw_only=True)
class Offender:
    """A row or a refused record that breaks a rule."""

    rule: str
    dataset: str
    image_id: int | None
    annotation_id: int | None
    observed: str
    file: Path | None = None
    """Of a refused image."""
    bbox: tuple[float, ...] = ()
    """Of a refused annotation."""
    quarantined: bool = False


def in_tables(
    warehouse: Warehouse, config: Config, report: CheckReport, broken: Collection[RuleResult]
) -> list[Offender]:
    """Of each rule that rows of a table break, the first `check.gallery_images` of a data set."""
    if not broken:
        return []
    session = spark.session(warehouse, config.spark)
    frames = with_context(session, warehouse, report.versions)
    found = []
    for table, annotation in PICTURED.items():
        some = {r.rule.name: r.rule for r in broken if r.rule.table == table}
        if some:
            names = sorted({r.dataset for r in broken})
            rows = frames[table].where(f"dataset IN ({', '.join(map(spark.quote, names))})")
            errors = rows.selectExpr(
                "dataset", "image_id", f"CAST({annotation} AS BIGINT) AS annotation_id",
                f"explode({errors_sql(some.values())}) AS error",
            )  # fmt: skip
            found += [_offender(row.asDict()) for row in _first(errors, config.check.gallery_images).collect()]
    return found


def _first(errors: "DataFrame", number: int) -> "DataFrame":
    """Of each rule and data set the first rows."""
    place = "row_number() OVER (PARTITION BY dataset, error.rule ORDER BY image_id, annotation_id) AS place"
    return errors.selectExpr("*", place).where(f"place <= {number}")


def _offender(row: Mapping[str, Any]) -> Offender:
    return Offender(
        rule=row["error"]["rule"],
        dataset=row["dataset"],
        image_id=row["image_id"],
        annotation_id=row["annotation_id"],
        observed=row["error"]["observed"] or "",
    )


def in_quarantine(warehouse: Warehouse, report: CheckReport, number: int) -> list[Offender]:
    """Of each rule that refused records break, the first `number` of a data set."""
    sources = {(row["dataset"], row["source_uri"]): row for row in delta.read(warehouse, "sources").to_pylist()}
    counts: dict[tuple[str, str], int] = {}
    found = []
    datasets = {result.dataset for result in report.results}
    for row in delta.read(warehouse, "quarantine", version=report.versions["quarantine"]).to_pylist():
        if row["dataset"] not in datasets or row["table_name"] not in PICTURED:
            continue
        folder = sources.get((row["dataset"], row["source_uri"]), {}).get("image_folder")
        one = _refused(row, Path(folder) if folder else None)
        for error in row["errors"]:
            key = (row["dataset"], error["rule"])
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= number:
                found.append(replace(one, rule=error["rule"], observed=error["observed"] or ""))
    return found


def _refused(row: Mapping[str, Any], folder: Path | None) -> Offender:
    try:
        record = json.loads(row["typed"] or row["record"])
    except ValueError:
        record = {}
    record = record if isinstance(record, dict) else {}
    image_id = record.get("image_id", record.get("id") if row["table_name"] == "images" else None)
    name, bbox = record.get("file_name"), record.get("bbox")
    numbers = isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(v, int | float) for v in bbox)
    return Offender(
        rule="",
        dataset=row["dataset"],
        image_id=image_id if isinstance(image_id, int) else None,
        annotation_id=None,
        observed="",
        file=_inside(folder, name) if folder and isinstance(name, str) else None,
        bbox=tuple(bbox) if numbers else (),  # type: ignore[arg-type]  # a list, as `numbers` says
        quarantined=True,
    )


def _inside(folder: Path, name: str) -> Path | None:
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
