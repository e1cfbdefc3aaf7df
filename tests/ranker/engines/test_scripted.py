"""Engines whose answers are a function."""

from __future__ import annotations

from math import exp

import pytest

from ranker.engines import Sampling, Scoring
from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.policy.prompts import Prompt
from tests.ranker.factories import make_set, oracle

PROMPT = Prompt("exclude", True, make_set([0, 1, 2]))


def test_an_answer_is_cut_where_a_real_engine_would_cut_it() -> None:
    whole, cut = (ScriptedEngine(oracle).complete([PROMPT], Sampling(limit))[0] for limit in (100, 3))
    assert whole.finish == "stop" and whole.text == oracle(PROMPT)
    assert (cut.finish, cut.completion_tokens, cut.text) == ("length", 3, " ".join(whole.text.split()[:3]))


def test_scores_are_the_log_of_a_softmax_behind_the_reasoning() -> None:
    scorer = ScriptedScorer(oracle, lambda prompt: {"A": 0.0, "B": 1.0, "C": -50.0})
    (scored,) = scorer.score([PROMPT], Sampling(100))
    assert sum(map(exp, scored.scores)) == pytest.approx(1.0)
    assert scored.scores[1] - scored.scores[0] == pytest.approx(1.0)
    assert scored.completion.text.endswith("</think>") and "<answer>" not in scored.completion.text
    assert isinstance(scorer, Scoring) and not isinstance(ScriptedEngine(oracle), Scoring)
