"""Which answers are kept: right ones, those that most samples agree on, each text once, and no more than
asked for.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.policy.parsing import parse
from ranker.policy.prompts import Mode
from ranker.stages.rejection_sampling import DUPLICATE, LOW, MINORITY, SURPLUS, fault, reasons

POOL = ("A", "B", "C")
TRUTH = {"A": 2.0, "B": 0.0, "C": 1.0}


@pytest.mark.parametrize(
    ("mode", "action", "relevance", "why"),
    [
        ("exclude", "A", {"A": 1, "B": 0}, "excludes_best"),
        ("exclude", "B", {"A": 1, "B": 0}, ""),
        ("exclude", "A", {"A": 1, "B": 2, "C": 0}, ""),
        ("exclude", "A", {"A": 2, "B": 2, "C": 0}, "excludes_best"),
        ("exclude", "A", {"A": 1, "B": 1}, ""),
        ("rank", "BA", {"A": 1, "B": 0}, "ranks_best_low"),
        ("rank", "BACD", {"A": 1, "B": 0, "C": 0, "D": 0}, ""),
        ("rank", "BCA", {"A": 1, "B": 0, "C": 0}, "ranks_best_low"),
        ("rank", "CBA", {"A": 1, "B": 1, "C": 0}, ""),
    ],
)
def test_what_counts_as_wrong(mode: Mode, action: str, relevance: dict[str, float], why: str) -> None:
    assert fault(mode, tuple(action), relevance) == why


def judged(
    texts: list[str],
    mode: Mode = "exclude",
    *,
    reject: bool = True,
    majority: bool = False,
    keep: int = 9,
    above: float | None = None,
) -> list[str]:
    answers = [(text, parse(text, POOL, mode, thinking=False)) for text in texts]
    return reasons(answers, mode, TRUTH, reject=reject, majority=majority, keep=keep, above=above)


def says(*labels: str) -> list[str]:
    return [f"<answer> {label} </answer>" for label in labels]


def test_rejection_sampling_keeps_the_right_ones_once_and_only_so_many() -> None:
    answers = [*says("A", "B"), "<answer>B</answer>", *says("B", "C"), "what?"]
    assert judged(answers) == ["excludes_best", "", "", DUPLICATE, "", "no_answer"]
    assert judged(answers, keep=2) == ["excludes_best", "", "", DUPLICATE, SURPLUS, "no_answer"]


def test_of_several_orders_the_best_by_the_reward_is_kept_and_none_that_is_no_better_than_chance() -> None:
    """All four have a most relevant candidate in their upper half, which is all that `reject` asks for."""
    orders = says("B A C", "C A B", "A B C", "A C B")
    assert judged(orders, "rank", keep=1) == ["", SURPLUS, SURPLUS, SURPLUS]
    assert judged(orders, "rank", keep=1, above=0.0) == [LOW, SURPLUS, SURPLUS, ""]
    assert judged(orders, "rank", keep=2, above=0.0) == [LOW, SURPLUS, "", ""]
    assert judged(says("A", "B"), reject=False, above=0.0) == [LOW, ""]


def test_the_majority_decides_alone_or_with_the_truth() -> None:
    wrong_majority = [*says("A", "B"), "<answer>A</answer>"]
    assert judged(wrong_majority, majority=True, reject=False) == ["", MINORITY, ""]
    assert judged(wrong_majority, majority=True, reject=True) == ["excludes_best", MINORITY, "excludes_best"]
    assert judged(wrong_majority, majority=False, reject=False) == ["", "", ""]


def test_what_cannot_be_read_has_no_vote_and_of_equals_the_first_counts() -> None:
    assert judged(["?", "?", *says("C", "B")], majority=True) == ["no_answer", "no_answer", "", MINORITY]
    assert judged(["?", "?"], majority=True) == ["no_answer", "no_answer"]
    assert judged([]) == []


TEXTS = st.lists(
    st.sampled_from([*says("A", "B", "C", "D"), "<answer>B</answer>", "<answer> C B </answer>", ""]),
    max_size=12,
)


@given(TEXTS, st.booleans(), st.booleans(), st.integers(1, 4))
def test_what_is_accepted_is_readable_right_agreed_on_and_distinct(
    texts: list[str], reject: bool, majority: bool, keep: int
) -> None:
    found = judged(texts, reject=reject, majority=majority, keep=keep)
    kept = [text for text, reason in zip(texts, found, strict=True) if not reason]
    actions = {text: parse(text, POOL, "exclude", thinking=False) for text in texts}
    votes = Counter(action.labels for action in (actions[text] for text in texts) if action.valid)
    assert len(set(kept)) == len(kept) <= keep
    for text in kept:
        assert actions[text].valid
        assert not reject or not fault("exclude", actions[text].labels, TRUTH)
        assert not majority or votes[actions[text].labels] == max(votes.values())
    for text, reason in zip(texts, found, strict=True):
        assert actions[text].valid or reason == actions[text].reason.value
    if SURPLUS in found:
        assert len(kept) == keep


@given(TEXTS, st.integers(1, 4))
def test_more_samples_never_take_back_what_was_accepted_by_the_truth(texts: list[str], keep: int) -> None:
    assert judged(texts[:-1], keep=keep) == judged(texts, keep=keep)[: max(len(texts) - 1, 0)]
