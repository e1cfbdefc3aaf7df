"""A reasoning and the scores behind it: budgets, pieces, and an end where nothing changes any more."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ranker.engines import load
from ranker.engines.scripted import ScriptedScorer
from ranker.errors import BadConfig
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.types import Episode
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import make_set, overlap_sets
from tests.ranker.strategies.policies import SAMPLING

GIVEN = make_set([0, 2, 1])
WORDS = "one two three four five six seven eight"


def _thinking(how: str, thinking: bool = True) -> Episode:
    """A model whose first word of reasoning makes it right, and seven more nothing."""

    def weigh(prompt: Prompt) -> dict[str, float]:
        right = 1.0 if "one" in prompt.begun else -1.0
        return {label: right * grade for label, grade in prompt.set.relevance.items()}

    engine = ScriptedScorer(lambda prompt: f"<think> {WORDS} </think> <answer> A </answer>", weigh)
    (episode,) = strategy(how)([GIVEN], engine, thinking=thinking, sampling=SAMPLING)
    return episode


@pytest.mark.parametrize(
    ("how", "thinking", "written", "ranking"),
    [
        ("think-then-score:mode=rank", False, [0], "ACB"),
        ("think-then-score:mode=rank,tokens=0", True, [0], "ACB"),
        ("think-then-score:mode=rank,tokens=4", True, [4], "BCA"),
        ("think-then-score:mode=rank,tokens=4,every=2", True, [2, 2], "BCA"),
        ("think-then-score:mode=rank,tokens=6,every=1,stop=2", True, [1, 1, 1], "BCA"),
        ("think-then-score:mode=rank,tokens=24,every=4", True, [4, 4, 1], "BCA"),
        ("think-then-score:tokens=4", True, [4], "ACB"),
    ],
)
def test_a_budget_is_kept_and_thinking_ends_where_it_should(
    how: str, thinking: bool, written: list[int], ranking: str
) -> None:
    """At its budget, at its own </think>, or where so many pieces changed nothing. Mode exclude reads the
    same weights the other way.
    """
    episode = _thinking(how, thinking)
    assert [step.completion_tokens for step in episode.steps] == written
    assert "".join(episode.ranking) == ranking
    assert episode.valid and all(step.valid for step in episode.steps)
    text = "".join(step.completion for step in episode.steps)
    assert f" {WORDS} </think>".startswith(text), "the pieces are one text"


@pytest.mark.parametrize("how", ["tokens=5,every=2", "tokens=4,stop=1"])
def test_pieces_that_do_not_fit_are_refused(how: str) -> None:
    with pytest.raises(BadConfig, match="every"):
        strategy(f"think-then-score:{how}")


def test_a_chat_model_that_can_write_nothing_right_still_ranks_every_pool(tmp_path: Path) -> None:
    """Random weights, byte-level tokens: no answer could be parsed. Each piece goes on from the last."""
    sets = overlap_sets(3, pool=4)
    ranked = strategy("think-then-score:tokens=8,every=4")(
        sets, load(bytewise(tmp_path), batch=4), thinking=True, sampling=SAMPLING
    )
    rows = judged(ranked, {given.set_id: given for given in sets}, Origin("evaluate", "m", "rl", 1))
    assert rows["episodes"]["invalid_calls"].sum() == 0 and rows["steps"]["scores"].null_count() == 0
    assert rows["episodes"]["completion_tokens"].max() == 8
    for episode in ranked:
        for before, after in pairwise(episode.steps):
            assert after.prompt == before.prompt + before.completion
