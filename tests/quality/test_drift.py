"""Drift that was put in is found; where none was put in, none is reported."""

import numpy as np
import pytest
from scipy import stats

from quality import drift
from quality.drift import Pair, judge

LIMITS = {"p_value": 0.05, "min_effect": 0.2}


def images(rng, n):
    """Figures of n images as detectors give them: skewed, bounded, counted, constant, named; related to each other."""
    light = rng.normal(120, 30, n)
    boxes = rng.poisson(3, n)
    return {
        "brightness": light,
        "contrast": 0.3 * light + rng.normal(0, 8, n),
        "sharpness": rng.lognormal(5, 0.8, n),
        "entropy": 8 - rng.exponential(0.5, n),
        "aspect_ratio": np.ones(n),
        "num_detections": boxes.astype(float),
        "max_score": rng.beta(8, 2, n),
        "mean_score": rng.beta(4, 2, n),
        "mean_area_share": rng.beta(2, 12, n),
        "mean_center_x": rng.beta(3, 3, n),
        "top_category": rng.choice(["circle", "square", "triangle"], n).astype(object),
    }


def pairs(current, baseline):
    return [Pair(name, current[name], baseline[name]) for name in current]


def drifted(current, baseline):
    return {f.pair.name for f in judge(pairs(current, baseline), **LIMITS) if f.is_drift}


@pytest.mark.parametrize("num_current", [40, 100, 400])
def test_nothing_is_found_where_nothing_was_put_in(num_current):
    """50 runs of 11 figures: fewer than one run in 25 may cry wolf."""
    alarms = 0
    for seed in range(50):
        rng = np.random.default_rng([seed, num_current])
        alarms += bool(drifted(images(rng, num_current), images(rng, 200)))
    assert alarms <= 1


def test_a_drifting_part_does_not_drag_a_steady_one_along():
    """Judged together, many true findings loosen Benjamini-Hochberg: the effect threshold has to hold alone."""
    alarms = missed = 0
    for seed in range(50):
        rng = np.random.default_rng([seed, 7])
        baseline, steady, dark = images(rng, 200), images(rng, 100), images(rng, 100)
        dark |= {"brightness": dark["brightness"] * 0.35, "sharpness": dark["sharpness"] * 3}
        findings = judge(pairs(steady, baseline) + pairs(dark, baseline), **LIMITS)
        half = len(findings) // 2
        alarms += any(f.is_drift for f in findings[:half])
        missed += not {"brightness", "sharpness"} <= {f.pair.name for f in findings[half:] if f.is_drift}
    assert missed == 0
    assert alarms <= 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda values: values - 30),
        ("max_score", lambda values: values * 0.7),
        ("num_detections", lambda values: values + 3),
        ("top_category", lambda values: np.where(values == "circle", "square", values).astype(object)),
    ],
)
def test_what_was_put_in_is_found_and_nothing_else(name, change):
    for seed in range(10):
        rng = np.random.default_rng([seed, 3])
        current = images(rng, 150)
        assert drifted(current | {name: change(current[name])}, images(rng, 200)) == {name}


def test_a_significant_trifle_is_no_drift():
    rng = np.random.default_rng(0)
    (finding,) = judge([Pair("x", rng.normal(0.1, 1, 10_000), rng.normal(0, 1, 10_000))], **LIMITS)
    assert finding.p_value < 1e-6
    assert not finding.is_drift


def test_the_verdict_is_reproducible_and_large_samples_are_thinned():
    rng = np.random.default_rng(0)
    pair = Pair("x", rng.normal(1, 1, 30_000), rng.normal(0, 1, 30_000))
    first, second = judge([pair], **LIMITS), judge([pair], **LIMITS)
    assert (first[0].effect, first[0].effect_threshold) == (second[0].effect, second[0].effect_threshold)
    assert len(first[0].pair.current) == drift.MAX_TESTED
    assert first[0].is_drift


def test_a_constant_that_changes_is_drift_and_one_that_does_not_is_none():
    ones, twos = np.ones(100), np.full(100, 2.0)
    assert [f.is_drift for f in judge([Pair("same", ones, ones), Pair("moved", twos, ones)], **LIMITS)] == [False, True]


def test_nothing_to_judge():
    assert judge([], **LIMITS) == []


A, B = np.array([30.0, 50.0, 20.0]), np.array([10.0, 50.0, 40.0])


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (drift.tv_distance, 0.2),
        (drift.l_infinity_distance, 0.2),
        # sqrt of half the two relative entropies to the mean (.2, .5, .3), in bits.
        (drift.js_distance, np.sqrt((stats.entropy([0.3, 0.5, 0.2], [0.2, 0.5, 0.3], 2) + stats.entropy([0.1, 0.5, 0.4], [0.2, 0.5, 0.3], 2)) / 2)),
    ],
    ids=["total variation", "l infinity", "Jensen-Shannon"],
)  # fmt: skip
def test_distances_of_counts_by_hand(distance, expected):
    assert distance(A, B) == pytest.approx(expected)
    assert distance(A, A) == pytest.approx(0)


def test_chi_squared_by_hand():
    # Expected counts are the mean of both rows: sum of (a - e)^2 / e over both.
    expected = 2 * (10**2 / 20 + 10**2 / 30)
    found = drift.chi_squared_test(A, B)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 2))


def test_chi_squared_of_one_name_is_no_difference():
    assert drift.chi_squared_test(np.array([5.0, 0.0]), np.array([7.0, 0.0])).p_value == 1.0


def test_wasserstein_of_a_shift_is_the_shift():
    values = np.arange(10.0)
    assert drift.wasserstein_distance(values + 3, values) == pytest.approx(3)
    assert drift.shift(values + 3, values) == pytest.approx(3 / np.std(values))


def test_psi_by_hand():
    baseline = np.arange(100.0)
    current = np.concatenate([np.arange(50.0), np.arange(50.0)])  # the lower five deciles, twice as often
    expected = 5 * (0.2 - 0.1) * np.log(2) + 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert drift.population_stability_index(current, baseline) == pytest.approx(expected)
    assert drift.population_stability_index(baseline, baseline) == pytest.approx(0)


def test_benjamini_hochberg_by_hand():
    assert drift.benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
