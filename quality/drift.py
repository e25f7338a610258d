"""Has a distribution moved? Distances, tests, and a verdict that chance alone rarely gives (pure).

Drift is called where a test's adjusted p value and an effect size both cross: with many images any difference is
significant, with few any difference is large.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

Floats = NDArray[np.float64]
Strings = NDArray[np.object_]
Values = NDArray[Any]
"""Floats or Strings."""

PSI_BINS = 10
PSI_FLOOR = 1e-4
"""Share of an empty bin: PSI takes logarithms of shares."""
DRAWS = 200
"""Of the bootstrap that finds what effect chance gives."""
GRID = 512
"""Quantiles that stand for a distribution in the effect."""
CHANCE_SIGMAS = 5.0
"""Standard deviations above the mean effect of chance. A run has dozens of tests, and one that really drifts loosens
Benjamini-Hochberg for all, so that this limit must hold alone: measured, 3 false alarms in 800 runs of 11 figures."""
MAX_TESTED = 10_000
"""Larger samples are thinned to this, at random: an effect that 10,000 images do not show is no effect."""


@dataclass(frozen=True)
class Test:
    """A statistic and how often chance alone exceeds it."""

    statistic: float
    p_value: float


@dataclass(frozen=True)
class Pair:
    """One figure in two samples, without nulls: numbers (float64) or names (object)."""

    name: str
    current: Values
    baseline: Values

    @property
    def is_numeric(self) -> bool:
        """Numbers, not names."""
        return self.baseline.dtype.kind == "f"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on one pair."""

    pair: Pair
    method: str
    effect: float
    effect_threshold: float
    p_value: float
    """Benjamini-Hochberg adjusted over all pairs that were judged together."""
    is_drift: bool


def judge(pairs: Sequence[Pair], *, p_value: float, min_effect: float, seed: int = 0) -> list[Finding]:
    """A verdict on each pair, all judged together.

    The effect of numbers is the Wasserstein distance in standard deviations of the baseline, of names the total
    variation. It must exceed `min_effect` and what chance gives for samples of these sizes drawn from the baseline.
    """
    thinned = [_thin(pair, np.random.default_rng([seed, i])) for i, pair in enumerate(pairs)]
    adjusted = benjamini_hochberg([_test(pair).p_value for pair in thinned])
    return [
        _judge_one(pair, p, p_value, min_effect, np.random.default_rng([seed, i, 1]))
        for i, (pair, p) in enumerate(zip(thinned, adjusted, strict=True))
    ]


def _thin(pair: Pair, rng: np.random.Generator) -> Pair:
    def some(values: Values) -> Values:
        return values if len(values) <= MAX_TESTED else rng.choice(values, MAX_TESTED, replace=False)

    return Pair(pair.name, some(pair.current), some(pair.baseline))


def _test(pair: Pair) -> Test:
    if pair.is_numeric:
        return ks_test(pair.current, pair.baseline)
    return chi_squared_test(*shared_counts(pair.current, pair.baseline))


def _judge_one(pair: Pair, adjusted: float, p_value: float, min_effect: float, rng: np.random.Generator) -> Finding:
    if pair.is_numeric:
        effect, chance = shift(pair.current, pair.baseline), _chance_shifts(pair.baseline, len(pair.current), rng)
    else:
        now, then = shared_counts(pair.current, pair.baseline)
        effect, chance = tv_distance(now, then), _chance_distances(then, len(pair.current), rng)
    threshold = max(min_effect, float(np.mean(chance) + CHANCE_SIGMAS * np.std(chance)))
    return Finding(
        pair=pair,
        method="kolmogorov_smirnov" if pair.is_numeric else "chi_squared",
        effect=effect,
        effect_threshold=threshold,
        p_value=adjusted,
        is_drift=bool(adjusted < p_value and effect > threshold),
    )


def shift(current: Floats, baseline: Floats) -> float:
    """Wasserstein distance in standard deviations of the baseline (in its mean if it does not vary)."""
    spread = float(np.std(baseline)) or abs(float(np.mean(baseline))) or 1.0
    return float(_between(current, baseline)) / spread


def _chance_shifts(baseline: Floats, num_current: int, rng: np.random.Generator) -> Floats:
    """[DRAWS] effects of samples of these sizes, both drawn from the baseline (bootstrap)."""
    current = rng.choice(baseline, (DRAWS, num_current))
    spread = float(np.std(baseline)) or abs(float(np.mean(baseline))) or 1.0
    return _between(current, rng.choice(baseline, (DRAWS, len(baseline)))) / spread


def _chance_distances(baseline: Floats, num_current: int, rng: np.random.Generator) -> Floats:
    """[DRAWS] total variations of samples of these sizes, both drawn from the baseline's counts (bootstrap)."""
    shares = baseline / baseline.sum()
    current = rng.multinomial(num_current, shares, DRAWS) / num_current  # [DRAWS, K]
    again = rng.multinomial(int(baseline.sum()), shares, DRAWS) / baseline.sum()  # [DRAWS, K]
    distances: Floats = np.abs(current - again).sum(axis=-1) / 2
    return distances


def _between(a: Floats, b: Floats) -> Floats:
    """Wasserstein distance of [..., N] and [..., M] values, on a grid of quantiles: bootstraps need it fast."""
    distances: Floats = np.abs(_quantiles(a) - _quantiles(b)).mean(axis=-1)
    return distances


def _quantiles(values: Floats) -> Floats:
    grid = ((np.arange(GRID) + 0.5) / GRID * values.shape[-1]).astype(np.int64)
    quantiles: Floats = np.sort(values, axis=-1)[..., grid]
    return quantiles


def ks_test(current: Floats, baseline: Floats) -> Test:
    """Two-sample Kolmogorov-Smirnov; with ties its p value is too large, never too small."""
    result = stats.ks_2samp(current, baseline, method="asymp")
    return Test(float(result.statistic), float(result.pvalue))


def chi_squared_test(current: Floats, baseline: Floats) -> Test:
    """Pearson's test that two rows of counts [K] have the same shares."""
    seen = (current + baseline) > 0
    if seen.sum() < 2:
        return Test(0.0, 1.0)
    result = stats.chi2_contingency(np.stack([current[seen], baseline[seen]]), correction=False)
    return Test(float(result.statistic), float(result.pvalue))


def wasserstein_distance(current: Floats, baseline: Floats) -> float:
    """Earth mover's distance, in the unit of the values."""
    return float(stats.wasserstein_distance(current, baseline))


def population_stability_index(current: Floats, baseline: Floats) -> float:
    """Symmetric relative entropy over the deciles of the baseline; .1 and .25 are the customary limits.

    Source: Siddiqi, Credit Risk Scorecards, 2006.
    """
    edges = np.unique(np.quantile(baseline, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    bins = len(edges) + 1
    p = np.bincount(np.searchsorted(edges, current, side="right"), minlength=bins) / len(current)
    q = np.bincount(np.searchsorted(edges, baseline, side="right"), minlength=bins) / len(baseline)
    p, q = np.maximum(p, PSI_FLOOR), np.maximum(q, PSI_FLOOR)
    return float(np.sum((p - q) * np.log(p / q)))


def js_distance(current: Floats, baseline: Floats) -> float:
    """Square root of the Jensen-Shannon divergence of two rows of counts, base 2: 0 to 1 (Lin, 1991)."""
    return float(distance.jensenshannon(current, baseline, base=2))


def tv_distance(current: Floats, baseline: Floats) -> float:
    """Total variation of two rows of counts: half the sum of differences of shares, 0 to 1."""
    return float(np.abs(current / current.sum() - baseline / baseline.sum()).sum() / 2)


def l_infinity_distance(current: Floats, baseline: Floats) -> float:
    """Largest difference of shares of two rows of counts, 0 to 1."""
    return float(np.abs(current / current.sum() - baseline / baseline.sum()).max())


def shared_counts(current: Strings, baseline: Strings) -> tuple[Floats, Floats]:
    """How often each name occurs in either sample: two rows over the same [K] names."""
    names, places = np.unique(np.concatenate([current, baseline]).astype(str), return_inverse=True)
    both = [np.bincount(part, minlength=len(names)).astype(np.float64) for part in np.split(places, [len(current)])]
    return both[0], both[1]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for the number of tests: calling those below q drift is wrong in a share q of the calls.

    Source: Benjamini and Hochberg, 1995.
    """
    adjusted: list[float] = stats.false_discovery_control(p_values).tolist() if len(p_values) else []
    return adjusted
