"""Reasoning only where the scores leave it open."""

from __future__ import annotations

from ranker.engines.scripted import ScriptedScorer
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle
from tests.ranker.strategies.policies import SAMPLING


def test_a_gate_reasons_only_where_it_is_in_doubt():
    """Of three candidates one is clearly worst; of the two that are left neither is."""
    sure = {"A": 0.0, "B": 0.2, "C": 9.0}
    engine = ScriptedScorer(oracle, lambda prompt: {label: sure[label] for label in prompt.set.labels})
    (episode,) = strategy("gate:margin=0.5")([make_set([2, 1, 0])], engine, thinking=True, sampling=SAMPLING)
    assert [(len(step.pool), bool(step.scores), step.taken) for step in episode.steps] == [
        (3, True, ("C",)),
        (2, True, ()),
        (2, False, ("B",)),
    ]
    assert episode.ranking == ("A", "B", "C")
