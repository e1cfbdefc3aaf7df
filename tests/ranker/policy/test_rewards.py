from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.metrics.ranking import per_query
from ranker.policy.parsing import Action, Reason, grades, parse
from ranker.policy.rewards import (
    Answer,
    exclusion_gains,
    named,
    ndcg,
    random_ndcg,
    reward,
    shown_order,
    trace_reward,
)
from ranker.types import slot_labels
from tests.full_length import at_full_length, length

LABELS = "ABCDEFGH"
GRADES = st.lists(st.integers(0, 4), min_size=2, max_size=6)
KINDS = ("binary", "regret")


def relevance_of(grades):
    return {LABELS[i]: float(grade) for i, grade in enumerate(grades)}


def excluded(label):
    return Action((label,), Reason.VALID)


def ordered(labels):
    return Action(tuple(labels), Reason.VALID)


@given(GRADES, st.sampled_from(KINDS))
def test_a_random_exclusion_earns_nothing_on_average(grades, kind):
    relevance = relevance_of(grades)
    rewards = [reward(excluded(label), relevance, "exclude", kind).total for label in relevance]
    assert math.isclose(sum(rewards), 0, abs_tol=1e-9)


@given(GRADES, st.sampled_from(KINDS))
def test_a_better_exclusion_never_scores_lower(grades, kind):
    relevance = relevance_of(grades)
    by_grade = sorted(relevance, key=relevance.get)
    rewards = [reward(excluded(label), relevance, "exclude", kind).total for label in by_grade]
    assert all(first >= second - 1e-12 for first, second in pairwise(rewards))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_a_random_order_earns_nothing_on_average(grades):
    relevance = relevance_of(grades)
    rewards = [reward(ordered(order), relevance, "rank").total for order in permutations(relevance)]
    assert math.isclose(sum(rewards) / len(rewards), 0, abs_tol=1e-9)


@given(GRADES, st.data())
def test_swapping_a_better_candidate_up_raises_the_order(grades, data):
    relevance = relevance_of(grades)
    order = data.draw(st.permutations(list(relevance)))
    i = data.draw(st.integers(0, len(order) - 2))
    swapped = [*order[:i], order[i + 1], order[i], *order[i + 2 :]]
    change = (
        reward(ordered(swapped), relevance, "rank").total - reward(ordered(order), relevance, "rank").total
    )
    gap = relevance[order[i + 1]] - relevance[order[i]]
    assert (
        math.copysign(1, change) == math.copysign(1, gap) if gap else math.isclose(change, 0, abs_tol=1e-12)
    )


@given(GRADES, st.data())
def test_relabelling_and_reordering_the_pool_change_nothing(grades, data):
    relevance = relevance_of(grades)
    renamed = dict(zip(relevance, data.draw(st.permutations(list(relevance))), strict=True))
    shuffled = {renamed[label]: relevance[label] for label in data.draw(st.permutations(list(relevance)))}
    for label in relevance:
        for kind in KINDS:
            same = reward(excluded(label), relevance, "exclude", kind).total
            assert math.isclose(
                reward(excluded(renamed[label]), shuffled, "exclude", kind).total, same, abs_tol=1e-12
            )


TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "A", "B", "C", "D", "x"]), max_size=12
).map(" ".join)


@settings(max_examples=300)
@given(
    TEXTS,
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.sampled_from(["exclude", "rank"]),
    st.sampled_from(KINDS),
    st.booleans(),
)
def test_no_string_scores_above_a_right_answer(text, grades, mode, kind, thinking):
    relevance = relevance_of(grades)
    order = sorted(relevance, key=lambda label: -relevance[label])
    right = reward(ordered(order) if mode == "rank" else excluded(order[-1]), relevance, mode, kind).total
    assert reward(parse(text, tuple(relevance), mode, thinking), relevance, mode, kind).total <= right + 1e-12


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason not in (Reason.VALID, Reason.INCOMPLETE)]
)
@given(GRADES)
def test_an_invalid_answer_earns_less_than_any_valid_one(reason, grades):
    relevance = relevance_of(grades)
    worst = min(
        reward(excluded(label), relevance, "exclude", kind).total for label in relevance for kind in KINDS
    )
    assert reward(Action((), reason), relevance, "exclude").total <= worst


def test_an_incomplete_order_loses_its_missing_share():
    relevance = {"A": 1.0, "B": 0.0, "C": 0.0, "D": 0.0}
    full = reward(ordered("ABCD"), relevance, "rank").total
    half = reward(Action(("A", "B"), Reason.INCOMPLETE), relevance, "rank").total
    assert math.isclose(full - half, 0.5)


def test_incomplete_orders_of_twenty_earn_what_the_documentation_says():
    pool = slot_labels(20)
    relevance = {label: float(label == "A") for label in pool}
    earned = {
        part: round(reward(Action(part, Reason.INCOMPLETE), relevance, "rank").total, 3)
        for part in (pool[:19], pool[1:2])
    }
    assert list(earned.values()) == [0.598, -1.302]
    assert round(reward(ordered(pool), relevance, "rank").total, 3) == 0.648


def test_ndcg_against_a_hand_calculation():
    assert math.isclose(ndcg([0, 3, 2], [0, 3, 2]), (3 / math.log2(3) + 2 / 2) / (3 + 2 / math.log2(3)))
    assert ndcg([0, 0], [0, 0]) == 1.0
    assert math.isclose(random_ndcg((0.0, 1.0)), (1 + 1 / math.log2(3)) / 2)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_grades_in_any_order_earn_nothing_on_average_and_equal_grades_nothing_at_all(relevances):
    relevance = relevance_of(relevances)
    rewards = [
        trace_reward(dict(zip(order, range(len(order)), strict=True)), relevance)
        for order in permutations(relevance)
    ]
    assert math.isclose(sum(rewards) / len(rewards), 0, abs_tol=1e-9)
    assert math.isclose(trace_reward(dict.fromkeys(relevance, 2), relevance), 0, abs_tol=1e-9)


@given(GRADES, st.data())
def test_an_answer_that_restates_nothing_is_not_better_off_than_one_that_reasons(relevances, data):
    relevance = relevance_of(relevances)
    guess = {label: data.draw(st.integers(0, 9)) for label in relevance}
    assert trace_reward({}, relevance) <= trace_reward(guess, relevance) + 1e-12


def test_a_reward_of_ones_own_has_an_example():
    said = Action(("B",), Reason.VALID)
    short, long = (Answer("", said, "exclude", True, {"A": 1.0}, tokens, 64) for tokens in (8, 60))
    mute = Answer("", Action((), Reason.NO_ANSWER), "exclude", True, {"A": 1.0}, 1, 64)
    brief = named("ranker.policy.rewards.brevity")
    assert 0 >= brief(short) > brief(long) > brief(mute) == -1


@given(GRADES, st.data())
def test_no_grades_earn_more_than_the_true_ones(relevances, data):
    relevance = relevance_of(relevances)
    guess = {label: data.draw(st.integers(0, 9)) for label in relevance}
    assert (
        trace_reward(guess, relevance)
        <= trace_reward({label: int(grade) for label, grade in relevance.items()}, relevance) + 1e-12
    )


POOLS = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0]), min_size=2, max_size=4)


@given(POOLS, st.sampled_from(["binary", "regret"]))
def test_the_enumerated_exclusions_are_the_rewards_one_by_one(grades, kind):
    relevance = relevance_of(grades)
    one_by_one = [reward(excluded(label), relevance, "exclude", kind).total for label in relevance]
    assert exclusion_gains(np.array(grades), kind) == pytest.approx(one_by_one)


# -- metamorphic: what must hold between two answers, whatever the pool


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=5).filter(any), st.data())
def test_permuting_an_order_changes_the_reward_as_the_metric_says(grades, data):
    """The metric is ir-measures' own, not ours."""
    relevance = relevance_of(grades)
    one, other = (data.draw(st.permutations(list(relevance))) for _ in range(2))
    values = per_query({"one": one, "other": other}, {"one": relevance, "other": relevance})
    change = reward(ordered(one), relevance, "rank").total - reward(ordered(other), relevance, "rank").total
    assert math.isclose(change, values["one"]["ndcg_5"] - values["other"]["ndcg_5"], abs_tol=1e-6)


@given(GRADES, st.data())
def test_relabelling_and_reordering_the_pool_change_no_order_and_no_grades_either(grades, data):
    relevance = relevance_of(grades)
    renamed = dict(zip(relevance, data.draw(st.permutations(list(relevance))), strict=True))
    shuffled = {renamed[label]: relevance[label] for label in data.draw(st.permutations(list(relevance)))}
    order = data.draw(st.permutations(list(relevance)))
    guess = {label: data.draw(st.integers(0, 4)) for label in relevance}
    again = {renamed[label]: grade for label, grade in guess.items()}
    assert math.isclose(
        reward(ordered([renamed[o] for o in order]), shuffled, "rank").total,
        reward(ordered(order), relevance, "rank").total,
        abs_tol=1e-12,
    )
    assert math.isclose(trace_reward(again, shuffled), trace_reward(guess, relevance), abs_tol=1e-12)


@given(GRADES, st.data())
def test_grading_a_better_candidate_higher_never_lowers_the_trace_reward(grades, data):
    """Of two candidates graded the wrong way round, exchanging the grades never costs anything."""
    relevance = relevance_of(grades)
    guess = {label: data.draw(st.integers(0, 4)) for label in relevance}
    one, other = data.draw(st.permutations(list(relevance)))[:2]
    if relevance[one] > relevance[other] and guess[one] < guess[other]:
        mended = guess | {one: guess[other], other: guess[one]}
        assert trace_reward(mended, relevance) >= trace_reward(guess, relevance) - 1e-12


def damaged(rng, pool, thinking):
    """A completion that was right and has been cut, doubled, reordered, relabelled or filled with other
    things.
    """
    named = [str(label) for label in rng.permutation(pool)[: rng.integers(0, len(pool) + 1)]]
    words = (
        [*(f"{label} {rng.integers(0, 12)}" for label in rng.permutation(pool)), "drop"]
        if rng.random() < 0.8
        else []
    )
    parts = [
        *(["<think>", *words, "</think>"] if thinking or rng.random() < 0.1 else []),
        "<answer>",
        *named,
        "</answer>",
    ]
    for _ in range(rng.integers(0, 4)):
        at = int(rng.integers(0, len(parts) + 1))
        match rng.integers(0, 6):
            case 0:
                parts.insert(at, JUNK[rng.integers(len(JUNK))])
            case 1:
                parts[at : at + 1] = []
            case 2:
                parts[at:at] = parts[at : at + int(rng.integers(1, 5))]
            case 3:
                parts = [str(part) for part in rng.permutation(parts)]
            case 4:
                parts[at:] = []
            case _:
                parts[at : at + 1] = ["".join(chr(int(point)) for point in rng.integers(1, 0xD7FF, 5))]
    return (" ", "", "\n", "\t ")[rng.choice(4, p=(0.85, 0.05, 0.05, 0.05))].join(parts)


JUNK = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<Answer>",
    "<answer",
    "A",
    "a",
    "AA",
    "Z",
    "[A]",
    "A,",
    "\x00",
    "é",
    "…",
    "9" * 400,
    "\u202e",
    "<answer> A",
    "💥",
    "A B",
]


@at_full_length
def test_damaged_completions_never_raise_and_never_beat_a_right_one():
    rng = np.random.default_rng(20)
    kinds, reasons = (("exclude", "binary"), ("exclude", "regret"), ("rank", "binary")), set()
    for number in range(length(10_000, 100_000)):
        pool = LABELS[: 2 + number % 6]
        relevance = dict(zip(pool, rng.integers(0, 4, len(pool)).astype(float).tolist(), strict=True))
        mode, kind = kinds[number % 3]
        thinking = bool(rng.integers(2))
        text = damaged(rng, list(pool), thinking)
        action = parse(text, tuple(pool), mode, thinking, bool(rng.random() < 0.02))
        shown = grades(text, tuple(pool))
        earned = reward(action, relevance, mode, kind).total + (
            0.5 * trace_reward(shown, relevance) if action.valid and thinking else 0.0
        )
        assert -2 <= earned <= best_of(relevance, mode, kind, thinking) + 1e-9, (text, relevance, mode)
        assert set(shown) <= set(pool) and set(action.labels) <= set(pool)
        reasons.add(action.reason)
    assert reasons == set(Reason), "every way to be wrong was met, and being right too"


def best_of(relevance, mode, kind, thinking):
    """What the true order (or the true exclusion) with the true grades earns."""
    order = sorted(relevance, key=lambda label: -relevance[label])
    right = reward(ordered(order) if mode == "rank" else excluded(order[-1]), relevance, mode, kind).total
    return right + (
        0.5 * trace_reward({label: int(grade) for label, grade in relevance.items()}, relevance)
        if thinking
        else 0.0
    )


@pytest.mark.parametrize("order", list(permutations("ABC")))
def test_the_blind_control_rewards_the_shown_order_and_nothing_else(order):
    blind = shown_order(("A", "B", "C"))
    best = reward(ordered(("A", "B", "C")), blind, "rank").total
    assert (reward(ordered(order), blind, "rank").total == best) == (order == ("A", "B", "C"))
    assert (
        reward(excluded("C"), blind, "exclude", "regret").total
        > reward(excluded("A"), blind, "exclude", "regret").total
    )
    assert sum(reward(excluded(label), blind, "exclude").total for label in blind) == pytest.approx(0), (
        "chance earns nothing here, too"
    )
