"""Rows of the two Lakehouse Monitoring tables from figures of images (pure, Arrow).

Semantics are Databricks': a window, a slice (NULL: the whole table) and a column make a row; `:table` stands for the
table as a whole; the baseline is profiled as `BASELINE`, without a window; a window is compared with the baseline
(`BASELINE`) and with the window before it (`CONSECUTIVE`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakesight.tables import DRIFT_METRICS, PROFILE_METRICS, spark_type
from quality.profile import compare, compare_tables, profile, table_profile

LENGTHS = {"1 hour": timedelta(hours=1), "1 day": timedelta(days=1), "1 week": timedelta(weeks=1)}
TABLE = ":table"
Window = dict[str, datetime]


@dataclass(frozen=True)
class Slice:
    """A part of the images: those where expression `key` is `value`; all of them where both are None."""

    key: str | None = None
    value: str | None = None
    column: str | None = None
    """The column of the figures that holds the expression's value."""

    def of(self, figures: pa.Table) -> pa.Table:
        """The slice's rows."""
        return figures if self.column is None else figures.filter(pc.field(self.column) == self.value)


def find_slices(figures: pa.Table, expressions: Sequence[str]) -> list[Slice]:
    """The whole, then every value of every expression; images where it is NULL are in no slice of it."""
    slices = [Slice()]
    for k, expression in enumerate(expressions):
        values = sorted(set(figures[f"slice_{k}"].drop_null().to_pylist()))
        slices += [Slice(expression, value, f"slice_{k}") for value in values]
    return slices


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """Figures of the monitored images and of the baseline, and how they are looked at."""

    current: pa.Table
    baseline: pa.Table
    columns: Sequence[str]
    slices: Sequence[Slice]
    granularity: str
    min_images: int

    def baseline_of(self, part: Slice) -> pa.Table:
        """What a slice is compared with: the same slice of the baseline, or all of it where that has few images."""
        same = part.of(self.baseline)
        return same if same.num_rows >= self.min_images else self.baseline

    def windows(self) -> list[tuple[Window, pa.Table]]:
        """Windows with images, oldest first."""
        starts = sorted(set(self.current["window_start"].drop_null().to_pylist()))
        length = LENGTHS[self.granularity]
        return [
            ({"start": start, "end": start + length}, self.current.filter(pc.field("window_start") == start))
            for start in starts
        ]


def profile_rows(monitored: Monitored, shared: dict[str, Any]) -> pa.Table:
    """Rows of `predictions_profile_metrics`; `shared`: the columns that all rows have in common."""
    rows: list[dict[str, Any]] = []
    tables: list[tuple[Window | None, pa.Table]] = [(None, monitored.baseline), *monitored.windows()]
    for window, table in tables:
        kind = "BASELINE" if window is None else "INPUT"
        for part in monitored.slices:
            if (rest := part.of(table)).num_rows:
                common = shared | {"window": window, "log_type": kind, "granularity": monitored.granularity}
                rows += _rows(rest, monitored.columns, common | _names(part))
    return pa.Table.from_pylist(rows, schema=PROFILE_METRICS.arrow)


def _rows(table: pa.Table, columns: Sequence[str], common: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield common | {"column_name": TABLE} | table_profile(table.select(columns))
    for name in columns:
        yield common | _column(table, name) | profile(table[name])


def drift_rows(monitored: Monitored, shared: dict[str, Any]) -> pa.Table:
    """Rows of `predictions_drift_metrics`."""
    rows: list[dict[str, Any]] = []
    before: tuple[Window, pa.Table] | None = None
    for window, table in monitored.windows():
        common = shared | {"window": window, "granularity": monitored.granularity}
        for part in monitored.slices:
            rest = part.of(table)
            against = common | {"drift_type": "BASELINE", "window_cmp": None} | _names(part)
            rows += _drifts(rest, monitored.baseline_of(part), monitored.columns, against)
            if before:
                against = common | {"drift_type": "CONSECUTIVE", "window_cmp": before[0]} | _names(part)
                rows += _drifts(rest, part.of(before[1]), monitored.columns, against)
        before = window, table
    return pa.Table.from_pylist(rows, schema=DRIFT_METRICS.arrow)


def _drifts(
    table: pa.Table, before: pa.Table, columns: Sequence[str], common: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if not (table.num_rows and before.num_rows):
        return
    yield common | {"column_name": TABLE} | compare_tables(table.select(columns), before.select(columns))
    for name in columns:
        yield common | _column(table, name) | compare(table[name], before[name])


def _names(part: Slice) -> dict[str, str | None]:
    return {"slice_key": part.key, "slice_value": part.value}


def _column(table: pa.Table, name: str) -> dict[str, str]:
    return {"column_name": name, "data_type": spark_type(table.schema.field(name).type).lower()}
