from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.strategies import strategy
from tests.ranker.factories import adversary, make_set, oracle, overlap_sets

NAMES = ("iterative", "direct")
SAMPLING = Sampling(64)


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_policy_ranks_perfectly_and_a_perverse_one_in_reverse(name, thinking):
    sets = overlap_sets(20, pool=6)
    for answer, sign in ((oracle, -1), (adversary, 1)):
        for given_set, episode in zip(sets, strategy(name)(sets, ScriptedEngine(answer), thinking=thinking, sampling=SAMPLING), strict=True):
            grades = [sign * given_set.relevance[label] for label in episode.ranking]
            assert grades == sorted(grades) and episode.valid


BABBLE = st.sampled_from(["", "A", "<answer> A </answer>", "<answer> Z </answer>", "<think> x </think> <answer> B </answer>", "<answer> B A </answer>"])


@settings(max_examples=60)
@given(st.lists(BABBLE, min_size=1, max_size=5), st.integers(2, 6), st.sampled_from(NAMES))
def test_whatever_a_policy_says_the_ranking_is_a_permutation(answers, n, name):
    turn = iter(range(10_000))
    engine = ScriptedEngine(lambda ask: answers[next(turn) % len(answers)])
    sets = [make_set([1] + [0] * (n - 1), set_id=f"s{i}") for i in range(3)]
    for given_set, episode in zip(sets, strategy(name)(sets, engine, thinking=False, sampling=SAMPLING), strict=True):
        assert sorted(episode.ranking) == sorted(given_set.labels)
        assert len(episode.steps) == (n - 1 if name == "iterative" else 1)
        assert all(step.valid == (step.reason == "") for step in episode.steps)


def test_invalid_answers_fall_back_as_stated_and_are_counted():
    engine = ScriptedEngine(lambda ask: "no idea")
    episode = strategy("iterative")([make_set([1, 0, 0])], engine, thinking=True, sampling=SAMPLING)[0]
    assert episode.ranking == ("A", "B", "C") and [step.taken for step in episode.steps] == [("C",), ("B",)]
    assert [step.reason for step in episode.steps] == ["no_answer"] * 2 and not episode.valid
    assert all(step.reward == -1 for step in episode.steps)


def test_an_incomplete_order_keeps_what_it_named_first():
    engine = ScriptedEngine(lambda ask: "<answer> C </answer>")
    episode = strategy("direct")([make_set([0, 0, 1])], engine, thinking=False, sampling=SAMPLING)[0]
    assert episode.ranking == ("C", "A", "B") and episode.steps[0].reason == "incomplete"


def test_pools_of_different_sizes_advance_together():
    sets = [make_set([1] + [0] * k, set_id=f"s{k}") for k in range(1, 6)]
    episodes = strategy("iterative")(sets, ScriptedEngine(oracle), thinking=True, sampling=SAMPLING)
    assert [len(e.steps) for e in episodes] == [1, 2, 3, 4, 5]
    assert all(e.ranking[0] == "A" for e in episodes)
