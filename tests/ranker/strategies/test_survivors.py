"""Elimination down to a few, which one direct call then orders."""

from __future__ import annotations

from ranker.strategies import strategy
from tests.ranker.strategies.policies import SAMPLING, graded, perfect


def test_the_last_call_orders_those_that_are_left_and_the_excluded_follow_from_the_last() -> None:
    given_set = graded(6, [3, 5, 0, 1, 4, 2])
    (episode,) = strategy("survivors:keep=3")([given_set], perfect(), thinking=False, sampling=SAMPLING)
    assert [(step.mode, len(step.pool)) for step in episode.steps] == [
        ("exclude", 6),
        ("exclude", 5),
        ("exclude", 4),
        ("rank", 3),
    ]
    assert episode.ranking == ("B", "E", "A", "F", "D", "C")


def test_a_pool_no_longer_than_what_is_kept_is_ordered_at_once() -> None:
    (episode,) = strategy("survivors:keep=5")(
        [graded(4, range(4))], perfect(), thinking=False, sampling=SAMPLING
    )
    assert [step.mode for step in episode.steps] == ["rank"] and episode.ranking == ("D", "C", "B", "A")
