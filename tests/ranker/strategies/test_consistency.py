"""A vote over several shown orders."""

from __future__ import annotations

from ranker.engines.scripted import ScriptedEngine
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from tests.ranker.strategies.policies import SAMPLING, graded


def test_a_vote_over_shuffles_takes_out_what_the_place_says():
    """A policy that puts whoever stands first one place up too high: one shuffle is wrong, a vote is
    right.
    """

    def biased(prompt: Prompt) -> str:
        order = sorted(
            prompt.set.labels,
            key=lambda label: -prompt.set.relevance[label] - (1.5 if label == prompt.set.labels[0] else 0),
        )
        return f"<answer> {' '.join(order)} </answer>"

    given_set = graded(6, [3, 5, 0, 1, 4, 2])
    best = sorted(given_set.labels, key=lambda label: -given_set.relevance[label])
    run_cached, often = (
        strategy(name)([given_set], ScriptedEngine(biased), thinking=False, sampling=SAMPLING)[0].ranking
        for name in ("consistency:shuffles=1", "consistency:shuffles=9")
    )
    assert list(run_cached) != best == list(often)
