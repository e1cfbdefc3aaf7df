"""Bootstrap intervals over queries, resampled by group: queries of one user are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
    means = _resampled(data[:, None], groups, resamples, np.random.default_rng(seed))[:, 0]
    return Interval(float(data.mean()), *_middle(means), len(data))


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
    means = _resampled(data[:, None], groups, resamples, np.random.default_rng(seed))[:, 0]
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
        _resampled(values, groups, resamples, rng) for values, (_, _, groups) in zip(both, parts, strict=True)
    ]
    gains = np.mean([means[:, 0] / means[:, 1] - 1 for means in drawn], axis=0)
    value = np.mean([values[:, 0].mean() / values[:, 1].mean() - 1 for values in both])
    return Interval(float(value), *_middle(gains), sum(len(values) for values in both))


def _resampled(
    values: np.ndarray, groups: Sequence[str], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Column means of `values` (queries, k) over groups drawn with replacement, (resamples, k)."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(index).astype(float)
    sums = np.column_stack([np.bincount(index, weights=column) for column in values.T])
    draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    return (draws @ sums) / (draws @ counts)[:, None]


def _middle(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95% of `draws`."""
    lower, upper = np.quantile(draws, [0.025, 0.975])
    return float(lower), float(upper)
