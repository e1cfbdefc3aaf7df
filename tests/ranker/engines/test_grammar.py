"""The language of valid answers: whoever only writes allowed tokens ends with an answer that the parser
takes, whatever the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines.grammar import END, TAGS, Grammar, Vocabulary, pattern, reasoned
from ranker.errors import BadConfig, BadModel
from ranker.policy.parsing import parse
from ranker.policy.prompts import MODES, Prompt, longest_trace
from tests.ranker.factories import make_set

EOS = "<eos>"
LETTERS = "<>/thinkaswer ABCD01;\né"
WORDS = [f" {word}" for word in (*TAGS, *"ABCDEFGHIJ", "AA", "AB", "0", "1", ";")]


def vocabulary(texts: Sequence[str]) -> Vocabulary:
    return Vocabulary([*texts, ""], [len(texts)])


def prompt(mode: str, thinking: bool, n: int) -> Prompt:
    return Prompt(mode, thinking, make_set([1] + [0] * (n - 1)))  # type: ignore[arg-type]


def write(grammar: Grammar, limit: int, choose: Callable[[list[int]], int]) -> tuple[str, int]:
    """A completion of allowed tokens, and how many it has, the end included."""
    known, state, text = grammar.vocabulary, grammar.start, ""
    for used in range(limit):
        allowed = grammar.allowed(state, limit - used)
        offered = sorted(
            set(range(len(known.texts))) - known.barred(state.part) if allowed is None else allowed
        )
        assert offered, f"nothing may follow {text!r} with {limit - used} tokens left"
        token = choose(offered)
        if state.segment == END:
            return text, used + 1
        text, state = text + known.texts[token], grammar.advance(state, token)
    raise AssertionError(f"cut at {limit} tokens: {text!r}")


PIECES = st.lists(st.text(LETTERS, min_size=1, max_size=6), max_size=25) | st.lists(
    st.sampled_from([tag[i:j] for tag in TAGS for i in range(len(tag)) for j in range(i + 1, len(tag) + 1)]),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(
    PIECES,
    st.sampled_from(MODES),
    st.booleans(),
    st.integers(2, 4),
    st.integers(0, 40),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_any_choice_among_allowed_tokens_is_a_valid_answer_within_its_limit(
    pieces, mode, thinking, n, spare, opened, random
):
    """Tokens of every shape: parts of tags, tags with text about them, several characters of anything. And
    behind prompts that have opened the reasoning.
    """
    asked, known = prompt(mode, thinking, n), vocabulary(list(dict.fromkeys([*LETTERS, *pieces])))
    limit = next(size for size in range(200) if fits(asked, known, size, opened)) + spare
    text, used = write(Grammar(asked, known, limit, opened), limit, random.choice)
    text = f"<think>{text}" if thinking and opened else text
    assert parse(text, asked.set.labels, mode, thinking).valid, text
    assert used <= limit


def fits(asked: Prompt, known: Vocabulary, limit: int, opened: bool) -> bool:
    try:
        Grammar(asked, known, limit, opened)
    except BadConfig:
        return False
    return True


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_every_valid_compact_answer_can_be_written(mode, thinking):
    """Each answer over three candidates is reached by some choice, and nothing else is."""
    asked, known = prompt(mode, thinking, 3), vocabulary(WORDS)
    found = set()
    head = [" <think>", " </think>"] if thinking else []

    def follow(grammar, state, text, room):
        if state.segment == END:
            found.add(text.strip())
            return
        allowed = grammar.allowed(state, room)
        for token in {WORDS.index(" </think>")} if allowed is None else allowed:
            follow(grammar, grammar.advance(state, token), text + known.texts[token], room - 1)

    grammar = Grammar(asked, known, longest_trace(3))
    follow(grammar, grammar.start, "", longest_trace(3))
    orders = ["A", "B", "C"] if mode == "exclude" else ["A B C", "A C B", "B A C", "B C A", "C A B", "C B A"]
    assert found == {("".join(head) + f" <answer> {order} </answer>").strip() for order in orders}


def test_a_label_that_begins_another_is_still_a_label():
    """With 28 candidates, A is followed by the end of the label or by the rest of AA and AB."""
    asked = Prompt("exclude", False, make_set([1] + [0] * 27))
    known = vocabulary(["<answer>", " ", " A", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", " </answer>"])
    grammar = Grammar(asked, known, 6)
    for seed in range(20):
        text, _ = write(grammar, 6, Random(seed).choice)
        assert parse(text, asked.set.labels, "exclude", False).valid
    state = grammar.start
    for text in ("<answer>", " A"):
        state = grammar.advance(state, known.texts.index(text))
    assert {known.texts[token] for token in grammar.allowed(state, 4)} == {"A", "B", " </answer>"}
    assert {known.texts[token] for token in grammar.allowed(state, 2)} == {" </answer>"}, (
        "no room for a longer label"
    )


def test_reasoning_is_free_until_its_room_is_spent_and_never_holds_a_tag():
    asked, known = prompt("exclude", True, 3), vocabulary(WORDS)
    grammar = Grammar(asked, known, 20)
    state = grammar.advance(grammar.start, WORDS.index(" <think>"))
    assert grammar.allowed(state, 6) is None and grammar.allowed(state, 5) == {WORDS.index(" </think>")}
    barred = {known.texts[token] for token in known.barred("")}
    assert barred == {"", " <think>", " <answer>", " </answer>"}


@pytest.mark.parametrize(
    ("tail", "text", "after"),
    [
        ("", "a < b", ""),
        ("", "x </th", "</th"),
        ("</th", "ink>", "</think>"),
        ("</th", "ink> ", None),
        ("</think", "</think>", "</think>"),
        ("<", "answer>", None),
        ("<", "answer", "<answer"),
        ("", "<think>", None),
        ("<ans", "<", "<"),
        ("", "</think> <answer>", None),
    ],
)
def test_what_of_a_reasoning_matters(tail, text, after):
    assert reasoned(tail, text) == after


def test_what_cannot_be_written_is_said_at_once():
    with pytest.raises(BadConfig, match="9 tokens at least for 6 candidates in mode rank, 8 allowed"):
        Grammar(prompt("rank", False, 6), vocabulary(WORDS), 8)
    with pytest.raises(BadModel, match="no tokens spell ' K'"):
        Grammar(prompt("exclude", False, 11), vocabulary(WORDS), 8)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MODES), st.booleans(), st.integers(2, 6), st.integers(30, 120), st.data())
def test_what_a_pattern_matches_the_parser_takes(mode, thinking, n, limit, data):
    """Save for what an expression cannot say: a repeated label."""
    asked = prompt(mode, thinking, n)
    text = data.draw(st.from_regex(pattern(asked, limit), fullmatch=True))
    found = parse(text, asked.set.labels, mode, thinking)
    assert found.valid or (mode == "rank" and found.reason == "repeated")
    assert len(text) < max(limit, 60), "every token has a character at least, so no answer is cut"


def test_a_pattern_takes_what_policies_are_taught_to_write():
    asked = prompt("exclude", True, 3)
    assert re.fullmatch(
        pattern(asked, 90), "<think> A: 2, B: 0, C: 4. The worst is B. </think> <answer> B </answer>"
    )
    assert not re.fullmatch(pattern(asked, 90), "<think> so </think> <answer> D </answer>")
    assert re.fullmatch(pattern(asked, 90, opened=True), "B is worst. </think> <answer> B </answer>")
