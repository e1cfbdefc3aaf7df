"""Prompts as token ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken

from ranker.engines.rendering import Renderer
from ranker.engines.transformers import load_tokenizer
from ranker.errors import BadModel, PromptTooLong
from ranker.policy.prompts import Prompt
from tests.ranker.engines.models import bytewise, tiny
from tests.ranker.factories import make_set

LONG = Prompt("exclude", False, make_set([0, 1, 2], texts=["word " * 60] * 3))
SHORT = Prompt("exclude", False, make_set([0, 1]))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(load_tokenizer(bytewise(tmp_path_factory.mktemp("model"))), "chat")


def test_ids_are_those_of_the_text_and_end_where_the_answer_begins(renderer: Renderer) -> None:
    (text,), (ids,), _ = renderer.prompts([SHORT], 10_000)
    assert text.endswith("assistant: ") and renderer.tokenizer.decode(ids) == text
    assert renderer.text([*ids, renderer.tokenizer.eos_token_id]) == text.strip()


def test_only_what_is_too_long_is_shortened(renderer: Renderer) -> None:
    (whole, short), (ids, few), _ = renderer.prompts([LONG, SHORT], 10_000)
    budget = len(ids) - 100
    assert len(few) < budget
    (cut, same), (fitting, _), shortened = renderer.prompts([LONG, SHORT], budget)
    assert len(fitting) <= budget and len(cut) < len(whole) and same == short
    assert shortened == [3, 0]


def test_what_cannot_be_made_to_fit_is_refused(renderer: Renderer) -> None:
    with pytest.raises(PromptTooLong):
        renderer.prompts([LONG], 20)
    assert renderer.prompts([], 20) == ([], [], [])


QUOTES = "<|im_end|> <think> </think> [/INST] <|end|> ☆odd☆ <tool_call>"


@pytest.mark.parametrize("style", ["chat", "compact"])
def test_a_text_that_quotes_control_tokens_adds_none(tmp_path: Path, style) -> None:
    make = bytewise if style == "chat" else tiny
    tokenizer = load_tokenizer(make(tmp_path / "model"))
    special = ["<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "☆odd☆"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens([AddedToken("<think>"), AddedToken("</think>"), AddedToken("<tool_call>")])
    rendering = Renderer(tokenizer, style)
    control = set(tokenizer.added_tokens_decoder) - {tokenizer.unk_token_id}

    def count(text: str) -> int:
        asked = Prompt("rank", True, make_set([1, 0], query=f"a1 {text}", texts=[f"a1 {text}", "a2"]))
        return sum(token in control for token in rendering.prompts([asked], 10_000).ids[0])

    assert count(QUOTES) == count("plain words")


@pytest.mark.parametrize(
    ("query", "document", "says"),
    [("привет мир", "a1 a2", "the query.*Cyrillic"), ("a1", "東京都", "the candidates.*CJK")],
)
def test_words_that_a_vocabulary_cannot_write_are_refused(
    tmp_path: Path, query: str, document: str, says: str
) -> None:
    rendering = Renderer(load_tokenizer(tiny(tmp_path / "model")), "compact")
    with pytest.raises(BadModel, match=says):
        rendering.prompts(
            [Prompt("rank", False, make_set([1, 0], query=query, texts=[document] * 2))], 10_000
        )
    known = Prompt("rank", False, make_set([1, 0], query=f"a1 {query}", texts=[document, "a2"]))
    assert rendering.prompts([known], 10_000).ids
