"""Requests of any size in one call of the strategy."""

from __future__ import annotations

from ranker.engines.scripted import ScriptedEngine
from ranker.serving.episodes import episodes
from ranker.serving.settings import How
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle


def test_each_set_has_its_ranking_in_order_and_a_single_candidate_costs_no_call() -> None:
    sets = [
        make_set([0.0] * n if n == 1 else list(range(n)), set_id=f"s{i}") for i, n in enumerate((3, 1, 4, 1))
    ]
    found = episodes(sets, ScriptedEngine(oracle), How(strategy("iterative")))
    assert [one.set_id for one in found] == ["s0", "s1", "s2", "s3"]
    assert [one.ranking for one in found] == [("C", "B", "A"), ("A",), ("D", "C", "B", "A"), ("A",)]
    assert [len(one.steps) for one in found] == [2, 0, 3, 0]
    assert {one.strategy for one in found} == {"iterative"}
    assert episodes([], ScriptedEngine(oracle), How()) == []
