"""Columns of a Lakehouse Monitoring profile and of its drift (pure: Arrow columns in, values of one row out)."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quality import drift

QUANTILES = np.linspace(0, 1, 101)
FREQUENT = 20
"""Names listed in `frequent_items`."""


def profile(column: pa.ChunkedArray) -> dict[str, Any]:
    """The profile of one column of numbers or strings."""
    values = column.drop_null()
    distinct = pc.count_distinct(values).as_py()
    rest = _numbers(values) if is_numeric(column.type) else _strings(values)
    return {
        "count": len(column),
        "num_nulls": column.null_count,
        "percent_null": _percent(column.null_count, len(column)),
        "distinct_count": distinct,
        "percent_distinct": _percent(distinct, len(column)),
        **rest,
    }


def table_profile(table: pa.Table) -> dict[str, Any]:
    """The `:table` row."""
    return {"count": table.num_rows, "non_null_columns": _non_null(table)}


def compare(current: pa.ChunkedArray, before: pa.ChunkedArray) -> dict[str, Any]:
    """How one column moved; tests need a value on both sides."""
    now, then = profile(current), profile(before)
    deltas = {
        f"{name}_delta": _difference(now.get(name), then.get(name))
        for name in ("count", "avg", "percent_null", "percent_zeros", "percent_distinct")
    }
    a, b = sample(current), sample(before)
    if not (len(a) and len(b)):
        return deltas
    return deltas | (_number_drift(a, b) if is_numeric(current.type) else _name_drift(a, b))


def compare_tables(current: pa.Table, before: pa.Table) -> dict[str, Any]:
    """The `:table` row of a drift."""
    now, then = set(_non_null(current)), set(_non_null(before))
    return {
        "count_delta": float(current.num_rows - before.num_rows),
        "non_null_columns_delta": {"added": len(now - then), "missing": len(then - now)},
    }


def is_numeric(type_: pa.DataType) -> bool:
    """Numbers are compared as numbers, all else as names."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def sample(column: pa.ChunkedArray) -> NDArray[Any]:
    """Values without nulls and NaN: float64, or objects for names."""
    values = column.drop_null()
    if not is_numeric(column.type):
        names: NDArray[np.object_] = values.to_numpy().astype(object)
        return names
    numbers: NDArray[np.float64] = values.to_numpy().astype(np.float64)
    return numbers[~np.isnan(numbers)]


def _numbers(values: pa.ChunkedArray) -> dict[str, Any]:
    all_ = values.to_numpy().astype(np.float64)
    numbers = all_[~np.isnan(all_)]
    zeros = int((numbers == 0).sum())
    counted = {
        "num_zeros": zeros,
        "percent_zeros": _percent(zeros, len(all_)),
        "num_nan": len(all_) - len(numbers),
    }
    if not len(numbers):
        return counted
    return counted | {
        "avg": float(numbers.mean()),
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "stddev": float(numbers.std(ddof=1)) if len(numbers) > 1 else None,
        "median": float(np.median(numbers)),
        "quantiles": np.quantile(numbers, QUANTILES).tolist(),
    }


def _strings(values: pa.ChunkedArray) -> dict[str, Any]:
    if not len(values):
        return {}
    lengths = pc.utf8_length(values).to_numpy()
    counts = sorted(pc.value_counts(values).to_pylist(), key=lambda item: (-item["counts"], item["values"]))
    return {
        "min_length": float(lengths.min()),
        "max_length": float(lengths.max()),
        "avg_length": float(lengths.mean()),
        "frequent_items": [{"item": item["values"], "count": item["counts"]} for item in counts[:FREQUENT]],
    }


def _number_drift(current: NDArray[np.float64], before: NDArray[np.float64]) -> dict[str, Any]:
    ks = drift.ks_test(current, before)
    return {
        "ks_test": {"statistic": ks.statistic, "pvalue": ks.p_value},
        "wasserstein_distance": drift.wasserstein_distance(current, before),
        "population_stability_index": drift.population_stability_index(current, before),
    }


def _name_drift(current: NDArray[np.object_], before: NDArray[np.object_]) -> dict[str, Any]:
    now, then = drift.shared_counts(current, before)
    chi = drift.chi_squared_test(now, then)
    return {
        "chi_squared_test": {"statistic": chi.statistic, "pvalue": chi.p_value},
        "js_distance": drift.js_distance(now, then),
        "tv_distance": drift.tv_distance(now, then),
        "l_infinity_distance": drift.l_infinity_distance(now, then),
    }


def _non_null(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if table[name].null_count < table.num_rows]


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def _difference(now: float | None, then: float | None) -> float | None:
    return None if now is None or then is None else float(now - then)
