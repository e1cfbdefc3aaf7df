"""Estimates from clicks, on users whose relevance and position bias are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ranker.metrics.counterfactual import (
    Policy,
    effective_size,
    estimates,
    placing,
    propensities,
    relevance,
)

DEPTH = 4
EXAMINED = 1 / np.arange(1, DEPTH + 1)


@dataclass
class Traffic:
    """Requests whose document i (0-based, as ranked) has the relevance `worth[i]`, in the mean."""

    shown: np.ndarray
    clicks: np.ndarray
    worth: np.ndarray
    groups: list[str]


def traffic(
    requests: int, share: float, seed: int, worth: tuple[float, ...] = (0.2, 0.6, 0.3, 0.1)
) -> Traffic:
    rng = np.random.default_rng(seed)
    shown = np.tile(np.arange(DEPTH), (requests, 1))
    drawn = rng.random(requests) < share
    shown[drawn] = rng.permuted(shown[drawn], axis=1)
    relevant = rng.random((requests, DEPTH)) < np.take(worth, shown)
    clicks = (relevant & (rng.random((requests, DEPTH)) < EXAMINED)).astype(float)
    return Traffic(shown, clicks, np.array(worth), [str(n) for n in range(requests)])


def swapped(found: Traffic) -> Policy:
    """Who puts the second first, which is better here."""
    ranks = np.tile([1, 0, 2, 3], (len(found.shown), 1))
    return Policy(ranks, found.shown == ranks)


def test_propensities_are_the_examination_that_made_the_clicks() -> None:
    found = traffic(20_000, 1.0, 1)
    for place, seen in enumerate(propensities(found.clicks, found.groups, resamples=300, seed=1)):
        assert seen.lower <= EXAMINED[place] <= seen.upper and seen.upper - seen.lower < 0.1
    with pytest.raises(ValueError, match="first place"):
        propensities(np.zeros((3, 2)), list("abc"), resamples=10, seed=1)


def test_corrected_clicks_order_documents_as_relevance_does_where_bare_ones_do_not() -> None:
    found = traffic(40_000, 0.0, 2, worth=(0.3, 0.5, 0.4, 0.35))
    bare = found.clicks.mean(axis=0)
    corrected = relevance(found.clicks, EXAMINED).mean(axis=0)
    assert bare.argmax() == 0 and corrected.argmax() == 1
    assert corrected == pytest.approx(found.worth, abs=0.02)
    assert relevance(np.ones(2), np.array([0.01, 0.5])).tolist() == [10.0, 2.0], "clipped"


def test_a_document_s_chance_of_its_place_is_that_of_the_shuffle() -> None:
    chance = placing(np.array([[0, 2, 1, 9]]), 0.2, 4)
    assert chance == pytest.approx(np.array([[0.85, 0.05, 0.05, 0.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_both_estimates_are_what_the_other_ranking_gets(seed: int) -> None:
    found = traffic(30_000, 0.2, seed)
    policy = swapped(found)
    true = float((found.worth[[1, 0, 2, 3]] * EXAMINED).sum())
    gain = true - float((found.worth * EXAMINED).sum())
    for one in estimates(policy, found.clicks, found.shown, 0.2, found.groups, resamples=300, seed=1):
        assert one.value.value == pytest.approx(true, abs=0.03)
        assert one.gain.lower < gain < one.gain.upper or one.gain.value == pytest.approx(gain, abs=0.025)
        assert one.gain.lower > 0.1 and one.covered == 1.0
        assert 0 < one.effective < 30_000 * 0.1, "few requests showed it: the effective size says so"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = {"SNIPS": 0, "DR": 0}
    for seed in range(60):
        found = traffic(1_500, 0.3, 100 + seed)
        gain = float((found.worth[[1, 0, 2, 3]] * EXAMINED).sum() - (found.worth * EXAMINED).sum())
        for one in estimates(
            swapped(found), found.clicks, found.shown, 0.3, found.groups, resamples=200, seed=seed
        ):
            held[one.estimator] += one.gain.lower <= gain <= one.gain.upper
    assert all(count >= 51 for count in held.values()), (
        held
    )  # 57 expected; fewer by chance in 1% of the tries


def test_the_policy_that_served_gains_nothing_over_itself() -> None:
    found = traffic(2_000, 0.1, 5)
    own = np.tile(np.arange(DEPTH), (2_000, 1))
    for one in estimates(
        Policy(own, found.shown == own), found.clicks, found.shown, 0.1, found.groups, resamples=100, seed=1
    ):
        assert (one.gain.value, one.gain.lower, one.gain.upper) == (0.0, 0.0, 0.0)
        assert one.effective > 1_500


def test_what_could_not_be_shown_is_said_and_what_was_not_shuffled_says_nothing() -> None:
    found = traffic(2_000, 0.1, 6)
    beyond = np.tile([7, 0, 1, 2], (2_000, 1))
    (snips, dr) = estimates(
        Policy(beyond, found.shown == beyond),
        found.clicks,
        found.shown,
        0.1,
        found.groups,
        resamples=50,
        seed=1,
    )
    assert snips.covered == dr.covered == 0.75 and snips.effective == 0.0
    with pytest.raises(ValueError, match="shuffled"):
        estimates(swapped(found), found.clicks, found.shown, 0.0, found.groups, resamples=50, seed=1)


def test_requests_of_one_user_are_drawn_together() -> None:
    found = traffic(3_000, 0.3, 7)
    one_each = estimates(swapped(found), found.clicks, found.shown, 0.3, found.groups, resamples=200, seed=1)
    same = np.repeat(np.arange(300), 10)
    double = Traffic(found.shown[same], found.clicks[same], found.worth, [str(n) for n in same])
    few = estimates(swapped(double), double.clicks, double.shown, 0.3, double.groups, resamples=200, seed=1)
    width = [one.gain.upper - one.gain.lower for one in (one_each[0], few[0])]
    assert width[1] > 2 * width[0], "ten copies of 300 requests say what 300 do"
    assert effective_size(np.array([1.0, 1.0, 0.0])) == pytest.approx(2.0)
