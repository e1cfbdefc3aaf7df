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


def bootstrap_mean(values: Sequence[float], groups: Sequence[str], *, resamples: int, seed: int) -> Interval:
    """Mean of `values` with a 95% cluster-bootstrap interval (Efron & Tibshirani 1993; groups drawn with replacement).

    A paired comparison is this function over per-query differences.

    Args:
        values: one value per query.
        groups: the group (user, source) of each query, same length.

    Raises:
        ValueError: no values, or lengths differ.
    """
    if not len(values) or len(values) != len(groups):
        raise ValueError(f"a bootstrap needs one group per value and at least one value; seen {len(values)} values, {len(groups)} groups")
    data = np.asarray(values, dtype=float)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(index).astype(float)
    sums = np.bincount(index, weights=data)
    draws = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (draws @ sums) / (draws @ counts)
    lower, upper = np.quantile(means, [0.025, 0.975])
    return Interval(float(data.mean()), float(lower), float(upper), len(data))
