from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.policy.parsing import Reason, grades, parse, parse_tolerantly
from ranker.policy.prompts import MODES, Mode

POOL = ("A", "B", "C")


@pytest.mark.parametrize(
    ("text", "mode", "thinking", "reason", "labels"),
    [
        ("<think> A 1 </think> <answer> B </answer>", "exclude", True, "", ("B",)),
        ("\n<think>x</think>\n<answer>B</answer>\n", "exclude", True, "", ("B",)),
        ("<answer> B </answer>", "exclude", False, "", ("B",)),
        ("<answer> C A B </answer>", "rank", False, "", ("C", "A", "B")),
        ("<answer> C A </answer>", "rank", False, "incomplete", ("C", "A")),
        ("<answer> C A C </answer>", "rank", False, "repeated", ()),
        ("<answer> B </answer>", "exclude", True, "no_think", ()),
        ("<think> x </think> <answer> B </answer>", "exclude", False, "extra_text", ()),
        ("<think> x </think> <answer> B </answer> so there", "exclude", True, "extra_text", ()),
        ("I say <think> x </think> <answer> B </answer>", "exclude", True, "extra_text", ()),
        ("<answer> B </answer> <think> x </think>", "exclude", True, "extra_text", ()),
        ("<think> x </think> <answer> B </answer> <answer> A </answer>", "exclude", True, "repeated_tag", ()),
        ("<think> x </think> <answer> D </answer>", "exclude", True, "not_in_pool", ()),
        ("<think> x </think> <answer> b </answer>", "exclude", True, "not_in_pool", ()),
        ("<think> x </think> <answer> A B </answer>", "exclude", True, "too_many", ()),
        ("<think> x </think> <answer> </answer>", "exclude", True, "no_answer", ()),
        ("<think> x </think>", "exclude", True, "no_answer", ()),
        ("", "exclude", False, "no_answer", ()),
    ],
)
def test_each_answer_is_typed(text, mode, thinking, reason, labels):
    action = parse(text, POOL, mode, thinking)
    assert (str(action.reason), action.labels, action.valid) == (reason, labels, reason == "")


def test_a_cut_completion_is_truncated_whatever_it_says():
    assert parse("<answer> B </answer>", POOL, "exclude", False, truncated=True).reason is Reason.TRUNCATED


PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "A", "B", "C", "D", " ", "\n", "4", "drop", "é", "\x00"]
)


@settings(max_examples=500)
@given(
    st.lists(PIECES, max_size=14).map(" ".join) | st.text(max_size=60),
    st.sampled_from(["exclude", "rank"]),
    st.booleans(),
    st.booleans(),
)
def test_no_text_raises_and_only_pool_labels_come_back(text, mode, thinking, truncated):
    action = parse(text, POOL, mode, thinking, truncated)
    assert set(action.labels) <= set(POOL)
    assert len(set(action.labels)) == len(action.labels)
    assert not action.valid or (len(action.labels) == (1 if mode == "exclude" else 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think> A 2 B 0 C 4 </think> <answer> B </answer>", {"A": 2, "B": 0, "C": 4}),
        ("<think> A: 2, B: 0, C: 4. The worst is B. </think> <answer> B </answer>", {"A": 2, "B": 0, "C": 4}),
        ("<think> A 2 B 0 </think> <answer> B </answer>", {}),
        ("<think> A 2 B 0 C 4 A 1 </think> <answer> B </answer>", {}),
        ("<answer> A 2 B 0 C 4 </answer>", {}),
    ],
)
def test_grades_count_only_where_every_candidate_has_one(text, expected):
    assert grades(text, POOL) == expected


@pytest.mark.parametrize(
    ("text", "mode", "reason", "labels", "repairs"),
    [
        ("<answer> C A B </answer>", "rank", "", ("C", "A", "B"), ()),
        (
            "Sure! <think> A: 1 <answer> [C], [A] > [B]",
            "rank",
            "",
            ("C", "A", "B"),
            ("no_tags", "extra_words"),
        ),
        (
            "<answer> A </answer> no: <answer>C, A, B, C</answer> as B is worst",
            "rank",
            "",
            ("C", "A", "B"),
            ("extra_words", "repeated"),
        ),
        (
            "<think> A: 2, B: 1, C: 4. The best is C. </think>\nC, A, B",
            "rank",
            "",
            ("C", "A", "B"),
            ("no_tags",),
        ),
        ("C > A > B", "rank", "", ("C", "A", "B"), ("no_tags",)),
        ("A ranking: [B] > [C]", "rank", "", ("B", "C", "A"), ("no_tags", "missing")),
        ("<answer> C C", "rank", "", ("C", "A", "B"), ("no_tags", "repeated", "missing")),
        ("<answer> the worst is B", "exclude", "", ("B",), ("no_tags", "extra_words")),
        ("<answer> B or C </answer>", "exclude", "too_many", (), ()),
        ("<answer> D </answer>", "exclude", "not_in_pool", (), ()),
        ("<answer> b </answer>", "exclude", "not_in_pool", (), ()),
        ("<answer> </answer>", "exclude", "no_answer", (), ()),
        ("A: 2, B: 0, C: 4", "rank", "no_answer", (), ()),
        ("A good film is C.", "exclude", "no_answer", (), ()),
        ("<think> A: 2, B", "rank", "no_answer", (), ()),
        ("", "rank", "no_answer", (), ()),
    ],
)
def test_a_tolerant_reading_finds_the_answer_in_another_form_and_guesses_none(
    text: str, mode: Mode, reason: str, labels: tuple[str, ...], repairs: tuple[str, ...]
) -> None:
    action = parse_tolerantly(text, POOL, mode)
    assert (action.reason, action.labels, action.repairs) == (reason, labels, repairs)


@given(st.text(alphabet="ABCD </>answerthink:0,"), st.sampled_from(MODES))
def test_what_is_valid_strictly_reads_the_same_tolerantly(text: str, mode: Mode) -> None:
    for answer in (f"<answer> {text} </answer>", text):
        strict = parse(answer, POOL, mode, False)
        assert not strict.valid or parse_tolerantly(answer, POOL, mode) == strict
