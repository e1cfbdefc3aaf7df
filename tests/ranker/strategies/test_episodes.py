"""Rows of episodes and steps."""

from __future__ import annotations

from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, frames
from tests.ranker.factories import overlap_sets
from tests.ranker.strategies.policies import SAMPLING, perfect


def test_calls_say_which_round_they_are_of_and_what_they_cost():
    sets = overlap_sets(3, pool=5)
    by_id = {one.set_id: one for one in sets}
    for name, rounds, calls in (
        ("iterative", 4, 4),
        ("consistency:shuffles=3", 1, 3),
        ("gate:margin=1", 8, 8),
        ("first-token", 1, 1),
    ):
        episodes, steps = frames(
            strategy(name)(sets, perfect(), thinking=True, sampling=SAMPLING),
            by_id,
            Origin("evaluate", "m", "rl", 0),
        )
        assert (
            set(episodes["rounds"]) == {rounds}
            and set(episodes["calls"]) == {calls}
            and set(episodes["strategy"]) == {name}
        )
        assert episodes["prompt_tokens"].to_list() == [
            sum(part["prompt_tokens"]) for (_,), part in steps.group_by("episode_id", maintain_order=True)
        ]
        assert set(episodes["cached_tokens"]) == {0} and set(episodes["invalid_calls"]) == {0}
