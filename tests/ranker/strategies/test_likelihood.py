"""One pass of a likelihood policy serves every strategy, and its steps are what a policy of its scores
does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling
from ranker.errors import BadConfig
from ranker.policy.rewards import exclusion_quality
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.strategies.likelihood import Scores, elimination
from tests.ranker.factories import make_set
from tests.ranker.strategies.policies import Table

SAMPLING = Sampling(8)


def pool(values: Sequence[float], relevance: Sequence[float] = ()):
    texts = [f"t{i}" for i in range(len(values))]
    given = make_set(relevance or [0.0] * len(values), texts=texts)
    return given, Table(dict(zip(texts, values, strict=True)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 0), min_size=2, max_size=7))
def test_every_strategy_gives_the_order_of_the_scores_for_one_pass(values: list[float]) -> None:
    for name in (
        "iterative",
        "direct",
        "iterative:drop=half,by=scores",
        "first-token",
        "setwise",
        "window",
    ):
        given, engine = pool(values)
        (episode,) = strategy(name)([given], engine, thinking=False, sampling=SAMPLING)
        order = [values[given.labels.index(label)] for label in episode.ranking]
        assert order == sorted(values, reverse=True), name
        assert engine.read == len(values), name
        assert episode.valid


def test_equal_scores_keep_the_shown_order() -> None:
    for name in ("iterative", "direct"):
        given, engine = pool([-1.0, -1.0, -0.5, -1.0])
        (episode,) = strategy(name)([given], engine, thinking=False, sampling=SAMPLING)
        assert episode.ranking == ("C", "A", "B", "D")


def test_steps_keep_scores_temperature_and_reward() -> None:
    given, engine = pool([-1.0, -3.0, -2.0], relevance=[1.0, 0.0, 0.0])
    episodes = strategy("iterative")([given], engine, thinking=False, sampling=SAMPLING)
    rows = judged(episodes, {given.set_id: given}, Origin("evaluate", "m", "rl", 0))["steps"].to_dicts()
    assert [row["log_likelihoods"] for row in rows] == [[-1.0, -3.0, -2.0], [-1.0, -2.0]]
    assert {row["temperature"] for row in rows} == {0.5}
    shares = [math.exp(2), math.exp(6), math.exp(4)]
    assert [math.exp(x) for x in rows[0]["scores"]] == pytest.approx([x / sum(shares) for x in shares])
    assert [row["taken"] for row in rows] == [["B"], ["C"]]
    assert [row["reward"] for row in rows] == pytest.approx([1 / 3, 1 / 2])
    assert [row["prompt_tokens"] > 0 for row in rows] == [True, False]


def test_reasoning_is_refused() -> None:
    given, engine = pool([-1.0, -2.0])
    with pytest.raises(BadConfig, match="writes no reasoning"):
        strategy("iterative")([given], engine, thinking=True, sampling=SAMPLING)


def test_queries_are_read_in_batches() -> None:
    values = [-1.0, -2.0, -3.0]
    sets = [pool(values)[0] for _ in range(5)]
    _, engine = pool(values)
    engine.batch = 2  # type: ignore[attr-defined]
    episodes = strategy("iterative")(sets, engine, thinking=False, sampling=SAMPLING)
    assert [episode.ranking for episode in episodes] == [("A", "B", "C")] * 5
    assert engine.read == 15


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(0, 99))
def test_a_drawn_elimination_earns_what_its_steps_earn(relevance: list[int], seed: int) -> None:
    given = make_set(relevance)
    order = Random(seed).sample(given.labels, len(given))
    episode = elimination(given, Scores(dict.fromkeys(given.labels, -1.0), 1.0), order, "regret")
    assert episode.ranking == tuple(reversed(order))
    left = list(given.labels)
    for step, label in zip(episode.steps, order[:-1], strict=True):
        own = {one: given.relevance[one] for one in left}
        chance = sum(exclusion_quality(one, own, "regret") for one in own) / len(own)
        assert step.pool == tuple(left)
        assert step.reward == pytest.approx(exclusion_quality(label, own, "regret") - chance)
        left.remove(label)
