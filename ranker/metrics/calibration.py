"""Scores as probabilities: a temperature for choices within a pool, and a logistic curve for a candidate by
itself, both fitted on validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

WIDEST = 50.0
"""A fitted temperature is at most so many times, and at least so small a part, of the one it begins with."""


def fit_temperature(
    scores: Sequence[Sequence[float]], relevance: Sequence[Sequence[float]], start: float
) -> float:
    """τ that makes the choice of a most relevant candidate by softmax(scores / τ) most likely.

    Args:
        scores, relevance: of each pool, as shown.
        start: what is returned where no pool can tell: none is given, or all candidates of each are equals.
    """
    pools = [
        (np.asarray(own, float), np.asarray(worth, float) == max(worth))
        for own, worth in zip(scores, relevance, strict=True)
        if max(worth) > min(worth)
    ]
    if not pools:
        return start

    def loss(log_tau: float) -> float:
        tau = np.exp(log_tau)
        return float(np.mean([_logsumexp(own / tau) - _logsumexp(own[best] / tau) for own, best in pools]))

    middle = np.log(start)
    bounds = (middle - np.log(WIDEST), middle + np.log(WIDEST))
    return float(np.exp(_optimize().minimize_scalar(loss, bounds=bounds, method="bounded").x))


def fit_calibration(
    scores: Sequence[Sequence[float]], relevance: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Slope (above 0) and offset of P(relevant) = 1 / (1 + exp(−(slope · score + offset))), as Platt (1999).

    A candidate is relevant where its relevance is above half of the highest seen. Targets are smoothed as
    Platt does, so that separable scores have a finite slope. (1, 0) where there is only one kind.
    """
    s = np.concatenate([np.asarray(own, float) for own in scores]) if scores else np.zeros(0)
    worth = np.concatenate([np.asarray(own, float) for own in relevance]) if scores else np.zeros(0)
    relevant = np.asarray(is_relevant(worth.tolist()), bool)
    n, k = len(relevant), int(relevant.sum())
    if not 0 < k < n:
        return 1.0, 0.0
    target = np.where(relevant, (k + 1) / (k + 2), 1 / (n - k + 2))
    middle, width = s.mean(), max(s.std(), 1e-9)
    unit = (s - middle) / width

    def loss(found: np.ndarray) -> float:
        logit = np.exp(found[0]) * unit + found[1]
        return float((target * np.logaddexp(0, -logit) + (1 - target) * np.logaddexp(0, logit)).mean())

    start = np.array([0.0, np.log(k / (n - k))])
    log_slope, offset = _optimize().minimize(loss, start, method="Nelder-Mead").x
    slope = float(np.exp(log_slope) / width)
    return slope, float(offset - slope * middle)


def is_relevant(relevance: Sequence[float]) -> list[bool]:
    """Whether each candidate counts as relevant: above half of the highest relevance given."""
    most = max(relevance, default=0.0)
    return [worth > most / 2 for worth in relevance]


def probability(score: float, calibration: tuple[float, float]) -> float:
    """P(relevant) of one score."""
    slope, offset = calibration
    return float(np.exp(-np.logaddexp(0, -(slope * score + offset))))


def reliability(
    probabilities: Sequence[float], relevant: Sequence[bool], bins: int = 10
) -> list[tuple[float, float, int]]:
    """A reliability curve: mean probability, share relevant and count of each bin of equal width that holds
    any, by rising probability.
    """
    p, hit = np.asarray(probabilities, float), np.asarray(relevant, float)
    at = np.minimum((p * bins).astype(int), bins - 1)
    return [
        (float(p[at == place].mean()), float(hit[at == place].mean()), int((at == place).sum()))
        for place in range(bins)
        if (at == place).any()
    ]


def calibration_error(curve: Sequence[tuple[float, float, int]]) -> float:
    """Expected calibration error of a reliability curve (Naeini et al. 2015): how far probability and share
    lie apart, in the mean over candidates.
    """
    return sum(abs(p - share) * count for p, share, count in curve) / sum(count for _, _, count in curve)


def _optimize() -> Any:
    """scipy's optimizers, without types. Late: half a second, which most commands that read scores save."""
    from scipy import optimize  # type: ignore[import-untyped]

    return optimize


def _logsumexp(values: np.ndarray) -> float:
    most = values.max()
    return float(most + np.log(np.exp(values - most).sum()))
