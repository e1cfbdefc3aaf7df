"""Bootstrap intervals and randomisation tests over queries, by group: queries of one user are not
independent.

Functions that take several series at once (`intervals`, `sign_flip`) share the draws between them: a thousand
comparisons cost little more than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy import special as _special  # type: ignore[import-untyped]

special: Any = _special  # scipy has no types
FLIPS = 49_999
"""Random sign patterns of a randomisation test: the smallest p-value is 1 / 50,000."""
_AT_ONCE = 2_000
"""Sign patterns held in memory at once."""
_DRAWS_AT_ONCE = 100
"""Bootstrap draws held in memory at once: each counts all groups."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% percentile interval."""

    value: float
    lower: float
    upper: float
    queries: int

    @property
    def signed(self) -> str:
        """A difference with its interval, as text: +0.012 [-0.003, +0.027]."""
        return f"{self.value:+.3f} [{self.lower:+.3f}, {self.upper:+.3f}]"


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, groups: Sequence[str], *, resamples: int, seed: int
) -> Interval:
    """Mean of `values` with a 95% cluster-bootstrap interval (Efron & Tibshirani 1993; groups drawn with
    replacement).

    A paired comparison is this function over per-query differences.

    Args:
        values: one value per query.
        groups: the group (user, source) of each query, same length.

    Raises:
        ValueError: no values, or lengths differ.
    """
    if not len(values) or len(values) != len(groups):
        raise ValueError(
            f"a bootstrap needs one group per value and at least one value; seen {len(values)} values,"
            f" {len(groups)} groups"
        )
    data = np.asarray(values, dtype=float)
    lower, upper = intervals(data[:, None], groups, resamples=resamples, seed=seed)
    return Interval(float(data.mean()), float(lower[0]), float(upper[0]), len(data))


def intervals(
    values: np.ndarray, groups: Sequence[str], *, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95% cluster-bootstrap intervals of several means, each (series,).

    Args:
        values: (queries, series).
        groups: the group of each query.
    """
    means = resampled(values, groups, resamples, np.random.default_rng(seed))
    lower, upper = np.quantile(means, [0.025, 0.975], axis=0)
    return lower, upper


def group_sums(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Sums of `values` (queries, series) over each group, (groups, series)."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.column_stack([np.bincount(index, weights=column) for column in values.T])


def sign_flip(sums: np.ndarray, *, flips: int = FLIPS, seed: int) -> np.ndarray:
    """One-sided p-values of paired differences being around 0 and not above, (series,).

    Fisher's randomisation test: were both models alike, either could have been called the first, for each
    group by itself; so the signs of the groups' sums are drawn anew. Exact for models whose scores can be
    exchanged, and right in large samples for any whose difference has the mean 0 (Romano 1990). The sample
    itself counts, so that p is never 0 and never too small for the number of draws (Phipson and Smyth 2010).

    Args:
        sums: differences of one series a column, summed over each group (`group_sums`) and weighted as the
            mean that is tested weighs them: a mean over tasks has the sums of all tasks, each over its
            number of queries.
    """
    exact = np.asarray(sums, dtype=np.float32)
    total = exact.sum(axis=0)
    # Of float32 sums that are equal on paper either may be larger: what comes this close counts against.
    enough = total - 1e-5 * np.abs(exact).sum(axis=0)
    reached = np.zeros(exact.shape[1], dtype=np.int64)
    rng = np.random.default_rng(seed)
    for start in range(0, flips, _AT_ONCE):
        count = min(_AT_ONCE, flips - start)
        packed = rng.integers(0, 256, (count, -(-len(exact) // 8)), dtype=np.uint8)
        positive = np.unpackbits(packed, axis=1, count=len(exact)).astype(np.float32)
        reached += (2 * (positive @ exact) - total >= enough).sum(axis=0)
    return np.asarray((1 + reached) / (1 + flips), dtype=float)


def standard_error(sums: np.ndarray) -> np.ndarray:
    """Standard error of the total of each column of `sums` (groups, series), groups being independent;
    infinite where there is one alone.
    """
    groups = len(sums)
    variance = np.var(sums, axis=0, ddof=1) if groups > 1 else np.full(sums.shape[1], np.inf)
    return np.asarray(np.sqrt(groups * variance), dtype=float)


def power(effect: float, error: float, level: float, least: float = 0.0) -> float:
    """Chance that a one-sided test at `level` sees a mean of `effect` whose standard error is `error`, and
    that the mean seen is `least` or more: 0 to 1 (the normal approximation).
    """
    if error <= 0:
        return float(effect > 0 and effect >= least)
    return _NORMAL.cdf(effect / error - max(-_NORMAL.inv_cdf(level), least / error))


def detectable(error: float, level: float, least: float = 0.0, chance: float = 0.8) -> float:
    """The effect that such a test sees with this chance."""
    return max(-_NORMAL.inv_cdf(level) * error, least) + _NORMAL.inv_cdf(chance) * error


def deviation_interval(deviation: float, freedom: int) -> tuple[float, float]:
    """The 95% interval of a standard deviation of normal values that was estimated as `deviation` with so
    many degrees of freedom: freedom · deviation² / σ² has the χ² distribution.

    Args:
        freedom: at least 1.
    """
    ends = (math.sqrt(freedom / float(special.chdtri(freedom, tail))) for tail in (0.025, 0.975))
    lower, upper = (deviation * end for end in ends)
    return lower, upper


def difference_bound(deviation: float, freedom: int, level: float = 0.05) -> float:
    """What the difference of two more normal values of one mean exceeds with the chance `level`, where their
    standard deviation was estimated as `deviation` with so many degrees of freedom.

    The difference has the variance 2 σ²; over √2 · deviation it has Student's t distribution. With many
    degrees of freedom and a level of 5% this is 1.645 · √2 · deviation.
    """
    return float(special.stdtrit(freedom, 1 - level)) * math.sqrt(2) * deviation


def p_above(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[str],
    *,
    resamples: int,
    seed: int,
    margin: float = 0.0,
) -> float:
    """One-sided p-value of a mean being at most `margin`: the share of cluster-bootstrap means that are
    (Davison & Hinkley 1997, section 4.4: counting the sample itself, so that it is never 0).

    Raises:
        ValueError: as `bootstrap_mean`.
    """
    if not len(values) or len(values) != len(groups):
        raise ValueError(f"a test needs one group per value; seen {len(values)} values, {len(groups)} groups")
    data = np.asarray(values, dtype=float)
    means = resampled(data[:, None], groups, resamples, np.random.default_rng(seed))[:, 0]
    return float((1 + (means <= margin).sum()) / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """p-values of a family of tests, corrected so that the chance of any false one stays below the level
    (Holm 1979), in the order given.
    """
    order = sorted(range(len(p)), key=lambda place: p[place])
    found, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        found[place] = highest
    return found


def bootstrap_relative(
    parts: Sequence[tuple[Sequence[float], Sequence[float], Sequence[str]]], *, resamples: int, seed: int
) -> Interval:
    """Mean over tasks of mean(one) / mean(other) − 1, with a 95% cluster-bootstrap interval; both means from
    the same draw.

    Args:
        parts: per task, the values of one and of other on the same queries, and the queries' groups, all of
            one length.

    Raises:
        ValueError: no parts, an empty one, or a mean of other that is 0.
    """
    if not parts or any(not len(one) or not np.any(other) for one, other, _ in parts):
        raise ValueError(f"a relative gain needs tasks whose other mean is above 0; seen {len(parts)} tasks")
    rng = np.random.default_rng(seed)
    both = [np.column_stack([one, other]).astype(float) for one, other, _ in parts]
    drawn = [
        resampled(values, groups, resamples, rng) for values, (_, _, groups) in zip(both, parts, strict=True)
    ]
    gains = np.mean([means[:, 0] / means[:, 1] - 1 for means in drawn], axis=0)
    value = np.mean([values[:, 0].mean() / values[:, 1].mean() - 1 for values in both])
    return Interval(float(value), *_middle(gains), sum(len(values) for values in both))


def resampled(
    values: np.ndarray, groups: Sequence[str], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Column means of `values` (queries, k) over groups drawn with replacement, (resamples, k)."""
    counts = group_sums(np.ones((len(values), 1)), groups)[:, 0]
    sums = group_sums(values, groups)
    even = np.full(len(counts), 1 / len(counts))
    found: list[np.ndarray] = []
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        draws = rng.multinomial(len(counts), even, size=min(_DRAWS_AT_ONCE, resamples - start))
        found.append((draws @ sums) / (draws @ counts)[:, None])
    return np.concatenate(found)


def _middle(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95% of `draws`."""
    lower, upper = np.quantile(draws, [0.025, 0.975])
    return float(lower), float(upper)
