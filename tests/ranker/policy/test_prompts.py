from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from ranker.config import task_names
from ranker.errors import PromptTooLong
from ranker.policy.parsing import parse
from ranker.policy.prompts import (
    Prompt,
    compact_words,
    fit,
    frame_tokens,
    longest_chat_trace,
    longest_trace,
    messages,
    trace,
    without,
)
from tests.ranker.factories import make_set

STYLES = ("compact", "chat")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mode", ["exclude", "rank"])
@pytest.mark.parametrize("name", task_names())
def test_every_task_can_be_asked(name, mode, style):
    content = messages(Prompt(mode, True, make_set([1, 0, 0], task=name)), style)[-1]["content"]
    for label in ("A", "B", "C"):
        assert label in content.replace(":", " ").split()


@pytest.mark.parametrize("style", STYLES)
def test_relevance_never_reaches_the_prompt(style):
    plain, swapped = make_set([1, 0, 0]), make_set([0, 0, 1])
    assert messages(Prompt("exclude", True, plain), style) == messages(
        Prompt("exclude", True, swapped), style
    )


@pytest.mark.parametrize("style", STYLES)
def test_survivors_keep_label_order_and_prefix(style):
    whole = make_set([1, 0, 0, 0])
    before = messages(Prompt("exclude", True, whole), style)[-1]["content"]
    after = messages(Prompt("exclude", True, without(whole, ["C"])), style)[-1]["content"]
    shown = before.index("B ;") if style == "compact" else before.index("\nC: ")
    assert after[:shown] == before[:shown]
    assert "C" not in after.split() and "\nC: " not in after


@given(st.integers(2, 12), st.sampled_from(["exclude", "rank"]), st.booleans())
def test_every_trace_parses_as_what_it_says(n, mode, thinking):
    labels = make_set([0] * n).labels
    action = labels[-1:] if mode == "exclude" else labels[::-1]
    for style in STYLES:
        text = trace(mode, thinking, dict.fromkeys(labels, 1), action, style)
        parsed = parse(text, labels, mode, thinking)
        assert parsed.valid and parsed.labels == tuple(action)
        if style == "compact":
            assert len(text.split()) + 1 <= longest_trace(n)


def test_a_chat_answer_has_room_in_a_vocabulary_of_bytes_and_common_words():
    """As SmolLM2's is: it cuts before every space, digit and sign."""
    cut = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )

    def tokens(n):
        labels = make_set([0] * n).labels
        texts = [trace(mode, True, dict.fromkeys(labels, 1), labels, "chat") for mode in ("exclude", "rank")]
        return max(len(cut.pre_tokenize_str(text)) + 1 for text in texts)

    assert tokens(8) > 64, "which is what a policy's answer has"
    for n in (2, 5, 8, 20, 26):
        assert tokens(n) <= longest_chat_trace(n) < 1.5 * tokens(n)


def test_long_candidates_are_shortened_alike_and_labels_stay():
    texts = ["word " * 400, "other " * 50, "short one"]
    prompt = Prompt("exclude", True, make_set([1, 0, 0], texts=texts))
    text = fit(prompt, "chat", lambda p: len(p[-1]["content"].split()), 200)
    content = text[-1]["content"]
    assert len(content.split()) <= 200
    assert all(f"\n{label}: " in content for label in "ABC") and "short one" in content
    assert content.split().count("word") == 50 and content.split().count("other") == 50


def test_a_prompt_that_cannot_fit_names_the_set():
    prompt = Prompt(
        "exclude",
        True,
        make_set([1] + [0] * 15, set_id="query-17", texts=["many words here indeed " * 9] * 16),
    )
    with pytest.raises(PromptTooLong, match="query-17"):
        fit(prompt, "chat", lambda p: len(p[-1]["content"].split()), 40)


def test_compact_words_are_stemmed_content_words_each_once():
    assert compact_words("Return the ABSOLUTE values of a valueList; returning x.") == [
        "return",
        "absolut",
        "valu",
        "list",
    ]
    assert compact_words("Return the absolute value", 2) == ["return", "absolut"]


@given(st.text(max_size=80))
def test_no_word_can_pass_for_structure(text):
    structure = {
        *frame_tokens("synthetic"),
        "<think>",
        "</answer>",
        *"ABC",
        *"0123456789",
    }
    assert not structure & set(compact_words(text))
