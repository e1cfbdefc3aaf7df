"""What engines promise."""

from __future__ import annotations

import pytest

from ranker.errors import BadConfig, BadModel
from ranker.policy.prompts import Prompt
from tests.ranker.engines.test_scores import LONG, engine
from tests.ranker.factories import make_set


def test_engines_and_vocabularies_that_cannot_score_say_so():
    from ranker.engines import scorer
    from ranker.engines.scripted import ScriptedEngine

    with pytest.raises(BadConfig, match="needs the labels' scores"):
        scorer(ScriptedEngine(lambda prompt: ""))
    with pytest.raises(BadModel, match="'I' as tokens"):
        engine("compact").score([Prompt("exclude", False, make_set([1] + [0] * 8))], LONG)
