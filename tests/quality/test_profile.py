"""Profiles by hand, including columns with nothing in them."""

import pyarrow as pa
import pytest

from lakesight.tables import DRIFT_METRICS, PROFILE_METRICS
from quality.profile import compare, compare_tables, profile, table_profile


def column(values, type_=None):
    return pa.chunked_array([pa.array(values, type_ or pa.float64())])


NAMES = column(["b", "aa", "b", None], pa.string())


def test_numbers():
    found = profile(column([0, 1, 2, 3, float("nan"), None]))
    assert found["count"] == 6
    assert (found["num_nulls"], found["num_nan"], found["num_zeros"]) == (1, 1, 1)
    assert (found["avg"], found["min"], found["max"], found["median"]) == (1.5, 0, 3, 1.5)
    assert found["stddev"] == pytest.approx(1.29099445)
    assert found["percent_null"] == pytest.approx(100 / 6)
    assert found["quantiles"][0::50] == [0, 1.5, 3]


def test_names():
    found = profile(NAMES)
    assert (found["min_length"], found["max_length"], found["avg_length"]) == (1, 2, pytest.approx(4 / 3))
    assert found["frequent_items"] == [{"item": "b", "count": 2}, {"item": "aa", "count": 1}]
    assert (found["distinct_count"], found["percent_distinct"]) == (2, 50)


@pytest.mark.parametrize("type_", [pa.float64(), pa.int32(), pa.string()], ids=str)
@pytest.mark.parametrize("values", [[], [None, None]], ids=["no rows", "nulls"])
def test_nothing_in_a_column(values, type_):
    found = profile(column(values, type_))
    assert (found["count"], found["distinct_count"]) == (len(values), 0)
    assert "avg" not in found
    assert set(compare(column(values, type_), column(values, type_))) <= set(DRIFT_METRICS.arrow.names)


def test_every_value_has_a_column():
    for values in (column([1, 2]), NAMES):
        assert set(profile(values)) <= set(PROFILE_METRICS.arrow.names)
        assert set(compare(values, values)) <= set(DRIFT_METRICS.arrow.names)


def test_drift_of_numbers_and_names():
    moved = compare(column([3, 4, 5]), column([1, 2, 3]))
    assert (moved["count_delta"], moved["avg_delta"], moved["wasserstein_distance"]) == (0, 2, 2)
    assert moved["ks_test"]["statistic"] == pytest.approx(2 / 3)
    assert "tv_distance" not in moved
    renamed = compare(column(["a", "a"], pa.string()), column(["b", "b"], pa.string()))
    assert (renamed["tv_distance"], renamed["js_distance"]) == (1, pytest.approx(1))
    assert "ks_test" not in renamed


def test_tables():
    full = pa.table({"x": [1, 2], "y": ["a", None]})
    bare = pa.table({"x": pa.nulls(3, pa.int64()), "y": ["a", "b", "c"]})
    assert table_profile(full) == {"count": 2, "non_null_columns": ["x", "y"]}
    assert compare_tables(full, bare) == {"count_delta": -1, "non_null_columns_delta": {"added": 1, "missing": 0}}
