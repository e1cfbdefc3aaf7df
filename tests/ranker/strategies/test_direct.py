"""A ranking from one order."""

from __future__ import annotations

from ranker.engines.scripted import ScriptedEngine
from ranker.strategies import strategy
from tests.ranker.factories import make_set
from tests.ranker.strategies.policies import SAMPLING


def test_an_incomplete_order_keeps_what_it_named_first():
    engine = ScriptedEngine(lambda prompt: "<answer> C </answer>")
    episode = strategy("direct")([make_set([0, 0, 1])], engine, thinking=False, sampling=SAMPLING)[0]
    assert episode.ranking == ("C", "A", "B") and episode.steps[0].reason == "incomplete"
