"""Prompts as token ids."""

from __future__ import annotations

import pytest

from ranker.engines.rendering import Renderer
from ranker.engines.transformers import load_tokenizer
from ranker.errors import PromptTooLong
from ranker.policy.prompts import Prompt
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import make_set

LONG = Prompt("exclude", False, make_set([0, 1, 2], texts=["word " * 60] * 3))
SHORT = Prompt("exclude", False, make_set([0, 1]))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(load_tokenizer(bytewise(tmp_path_factory.mktemp("model"))), "chat")


def test_ids_are_those_of_the_text_and_end_where_the_answer_begins(renderer: Renderer) -> None:
    (text,), (ids,) = renderer.prompts([SHORT], 10_000)
    assert text.endswith("assistant: ") and renderer.tokenizer.decode(ids) == text
    assert renderer.text([*ids, renderer.tokenizer.eos_token_id]) == text.strip()


def test_only_what_is_too_long_is_shortened(renderer: Renderer) -> None:
    (whole, short), (ids, few) = renderer.prompts([LONG, SHORT], 10_000)
    budget = len(ids) - 100
    assert len(few) < budget
    (cut, same), (fitting, _) = renderer.prompts([LONG, SHORT], budget)
    assert len(fitting) <= budget and len(cut) < len(whole) and same == short


def test_what_cannot_be_made_to_fit_is_refused(renderer: Renderer) -> None:
    with pytest.raises(PromptTooLong):
        renderer.prompts([LONG], 20)
    assert renderer.prompts([], 20) == ([], [])
