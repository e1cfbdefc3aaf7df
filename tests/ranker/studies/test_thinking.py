"""The study of thinking length: its arms, its figures, and what it claims of them."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from ranker.config import EvaluateParams
from ranker.engines.scripted import ScriptedScorer
from ranker.policy.prompts import Prompt
from ranker.stages import evaluate
from ranker.strategies import strategy
from ranker.strategies.episodes import together
from ranker.studies.thinking import ARM, NAME, claims, measured, ways
from tests.ranker.factories import overlap_sets

BUDGETS = (0, 8, 32)
WORDS = " ".join(f"w{n}" for n in range(100))
SETS = [replace(given, group_id=f"g{n}") for n, given in enumerate(overlap_sets(20, pool=5))]


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """A model that ranks the wrong way round until its sixth word, and would go on for ever."""

    def weigh(prompt: Prompt) -> dict[str, float]:
        right = 1.0 if "w5 " in f"{prompt.begun} " else -1.0
        return {label: right * grade for label, grade in prompt.set.relevance.items()}

    engine = ScriptedScorer(lambda prompt: f"<think> {WORDS} </think>", weigh)
    how = tuple(ways(BUDGETS).values())
    arm = evaluate.Arm(ARM, "m", tmp_path_factory.mktemp("none"), how, (True,), 100)
    by_id = {given.set_id: given for given in SETS}
    written = evaluate.rankings(arm, SETS, by_id, EvaluateParams(), lambda text: None, NAME, engine)
    groups = pl.DataFrame({"set_id": list(by_id), "group_id": [given.group_id for given in SETS]})
    return together(written)["episodes"].join(groups, on="set_id")


def test_every_arm_is_a_strategy_the_shortest_thought_first() -> None:
    found = ways((64, 0, 1_024, 256))
    assert list(found)[:4] == ["0 tokens", "64 tokens", "256 tokens", "1024 tokens"]
    last = list(found.values())[-1]
    assert last == "think-then-score:mode=rank,tokens=1024,every=128,stop=2"
    assert [str(strategy(how)) for how in found.values()][-1] == last
    assert all(strategy(how).modes == {"rank"} for how in ways((1, 3)).values()), "budgets of any size fit"


def test_quality_and_cost_stand_against_the_tokens_thought(episodes: pl.DataFrame) -> None:
    none, some, most, early = measured(episodes, BUDGETS, 200, 1)
    assert [row.thought.value for row in (none, some, most)] == [0, 8, 32]
    assert none.rr.value < 0.5 and some.rr.value == most.rr.value == early.rr.value == 1.0
    assert none.gain is None and some.gain is not None and some.gain.lower > 0.5
    assert 15 < early.thought.value <= 16, "pieces of 4: right after the second, then two that change nothing"
    found = list(claims([none, some, most, early]))
    assert [claim.holds for claim in found] == [True, True, True]
    assert found[-1].figure.startswith("16 of 32 tokens, MRR ") and found[-1].figure.endswith("0.000")
    backwards = list(claims([none, some, most, replace(early, rr=none.rr)]))
    assert [claim.holds for claim in backwards[-1:]] == [False], "what costs too much is not claimed"
