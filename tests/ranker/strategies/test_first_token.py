"""The whole order from one forward pass."""

from __future__ import annotations

import pytest

from ranker.engines.scripted import ScriptedScorer
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle
from tests.ranker.strategies.policies import SAMPLING


@pytest.mark.parametrize(("mode", "ranking"), [("exclude", ("C", "A", "B")), ("rank", ("B", "A", "C"))])
def test_the_likelihoods_are_the_order_whatever_would_be_written(mode: str, ranking: tuple[str, ...]) -> None:
    """Who is likely excluded ends last, who is likely named first comes first; the grades say otherwise."""

    def likely(prompt: Prompt) -> dict[str, float]:
        return {"A": 0.5, "B": 2.0, "C": -1.0}

    (episode,) = strategy(f"first-token:mode={mode}")(
        [make_set([0, 1, 2])], ScriptedScorer(oracle, likely), thinking=False, sampling=SAMPLING
    )
    assert episode.ranking == ranking and [step.mode for step in episode.steps] == [mode]
    assert episode.steps[0].scores is not None
