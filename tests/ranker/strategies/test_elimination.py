"""Candidates taken out call by call: who goes, how many at once, in which order the rest is shown."""

from __future__ import annotations

import pytest

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle
from tests.ranker.strategies.policies import SAMPLING, graded, perfect


def test_twenty_candidates_by_halves_take_five_calls():
    (episode,) = strategy("iterative:drop=half,by=scores")(
        [graded(20, range(20))], perfect(), thinking=False, sampling=SAMPLING
    )
    assert [len(step.pool) for step in episode.steps] == [20, 10, 5, 3, 2]


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (
            "<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> C </answer>",
            ("C", "D"),
        ),  # the answer first, then the lowest grades, of equals the one shown last
        ("<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> D </answer>", ("D", "B")),
        (
            "<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> D D </answer>",
            ("D", "B"),
        ),  # invalid, and its grades count
        (
            "<think> A 2 B 0 C 1 D 0 </think> <answer> B </answer>",
            ("B",),
        ),  # a candidate without a grade: one goes
        ("<think> A 2 B 0 C 1 D 0 </think> <answer> B", ("E",)),  # nothing to go by: the fallback
        ("<answer> B </answer>", ("E",)),
    ],
)
def test_by_grades_the_answer_goes_and_those_of_the_lowest_grades(said: str, taken: tuple[str, ...]) -> None:
    (episode,) = strategy("iterative:drop=half,by=grades,keep=3")(
        [graded(5, range(5))], ScriptedEngine(lambda prompt: said), thinking=True, sampling=SAMPLING
    )
    assert episode.steps[0].taken == taken
    assert episode.ranking[-len(taken) :] == tuple(reversed(taken))


def test_pools_of_different_sizes_advance_together():
    sets = [make_set([1] + [0] * k, set_id=f"s{k}") for k in range(1, 6)]
    episodes = strategy("iterative")(sets, ScriptedEngine(oracle), thinking=True, sampling=SAMPLING)
    assert [len(e.steps) for e in episodes] == [1, 2, 3, 4, 5]
    assert all(e.ranking[0] == "A" for e in episodes)


def test_survivors_keep_their_order_unless_they_are_to_be_shuffled():
    given_set = graded(8, range(8))
    (kept,) = strategy("iterative")([given_set], perfect(), thinking=False, sampling=SAMPLING)
    assert all(list(step.pool) == sorted(step.pool) for step in kept.steps)
    shuffled = [
        strategy("iterative:shuffle=true")(
            [given_set], perfect(), thinking=False, sampling=Sampling(400, seed=seed)
        )[0]
        for seed in (1, 1, 2)
    ]
    assert any(list(step.pool) != sorted(step.pool) for step in shuffled[0].steps)
    assert shuffled[0] == shuffled[1] and shuffled[0].steps != shuffled[2].steps, "the seed decides"
