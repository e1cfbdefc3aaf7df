"""Temperatures and calibration curves find what generated the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.metrics.calibration import (
    calibration_error,
    fit_calibration,
    fit_temperature,
    is_relevant,
    probability,
    reliability,
)


def drawn(tau: float, pools: int = 1_500, n: int = 5) -> tuple[list[list[float]], list[list[float]]]:
    """Pools whose one relevant candidate is drawn from softmax(scores / tau)."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 2, (pools, n))
    p = np.exp(scores / tau)
    best = [rng.choice(n, p=row / row.sum()) for row in p]
    return scores.tolist(), np.eye(n)[best].tolist()


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_the_temperature_that_drew_the_choices_is_found(tau: float) -> None:
    assert fit_temperature(*drawn(tau), start=1.0) == pytest.approx(tau, rel=0.1)


def test_where_no_pool_can_tell_the_temperature_stays() -> None:
    assert fit_temperature([], [], start=0.7) == 0.7
    assert fit_temperature([[1.0, 2.0]], [[1.0, 1.0]], start=0.7) == 0.7


def test_scores_that_are_always_right_have_a_finite_temperature() -> None:
    assert fit_temperature([[0.0, -30.0]] * 10, [[1.0, 0.0]] * 10, start=1.0) >= 1 / 50 - 1e-9


def test_the_curve_that_drew_the_labels_is_found() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(-3, 2, 20_000)
    hit = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * scores + 4)))
    slope, offset = fit_calibration([scores.tolist()], [hit.astype(float).tolist()])
    assert slope == pytest.approx(1.5, rel=0.1)
    assert offset == pytest.approx(4, rel=0.1)
    p_relevant = [probability(score, (slope, offset)) for score in scores]
    assert (
        max(abs(p - share) for p, share, count in reliability(p_relevant, hit.tolist()) if count > 500) < 0.05
    )


def test_one_kind_alone_gives_the_plain_curve() -> None:
    assert fit_calibration([[1.0, 2.0]], [[0.0, 0.0]]) == (1.0, 0.0)
    assert fit_calibration([], []) == (1.0, 0.0)


@given(st.floats(0.01, 5), st.floats(-5, 5), st.lists(st.floats(-50, 50), min_size=2, max_size=8))
def test_a_probability_keeps_the_order_of_scores(slope: float, offset: float, scores: list[float]) -> None:
    p_relevant = [probability(score, (slope, offset)) for score in sorted(scores)]
    assert p_relevant == sorted(p_relevant)
    assert all(0 <= p <= 1 for p in p_relevant)


def test_a_reliability_curve_counts_every_candidate_once() -> None:
    found = reliability([0.0, 0.05, 0.95, 1.0], [False, True, True, True], bins=10)
    assert found == [(0.025, 0.5, 2), (0.975, 1.0, 2)]


def test_the_calibration_error_is_the_mean_distance_over_candidates() -> None:
    assert calibration_error([(0.1, 0.1, 90), (0.8, 0.6, 10)]) == pytest.approx(0.02)
    assert calibration_error(reliability([0.25] * 4, [True, False, False, False])) == 0


def test_relevant_is_above_half_of_the_most_relevant() -> None:
    assert is_relevant([4.0, 2.0, 2.5, 0.0]) == [True, False, True, False]
    assert is_relevant([0.0, 0.0]) == [False, False] and is_relevant([]) == []
