"""Shuffled answers: what is drawn how often, and with which propensity it is logged."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest

from ranker.serving.explore import Exploration, order

BEST = list("ABCDE")


def test_without_a_share_an_answer_is_as_ranked() -> None:
    shown = order(BEST, "r", Exploration())
    assert (shown.labels, shown.drawn, shown.propensity) == (tuple(BEST), False, 1.0)
    assert order([], "r", Exploration(0.5)).labels == ()


def test_orders_come_as_often_as_their_propensity_says() -> None:
    how, seen = Exploration(0.4, 3), Counter[tuple[str, ...]]()
    said: dict[tuple[str, ...], float] = {}
    for number in range(12_000):
        shown = order(BEST, f"request {number}", how)
        assert shown.labels[3:] == ("D", "E") and shown.depth == 3
        seen[shown.labels[:3]] += 1
        said[shown.labels[:3]] = shown.propensity or 0.0
        assert shown == order(BEST, f"request {number}", how), "drawn from the id alone"
    assert set(seen) == set(permutations("ABC")) and sum(said.values()) == pytest.approx(1)
    for labels, propensity in said.items():
        assert seen[labels] / 12_000 == pytest.approx(propensity, abs=0.015)


def test_the_depth_is_never_more_than_is_shown() -> None:
    shown = [order(BEST[:2], str(n), Exploration(1.0, 5)) for n in range(50)]
    assert {one.depth for one in shown} == {2} and {one.propensity for one in shown} == {0.5}
