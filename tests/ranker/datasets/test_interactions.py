"""Draws over arrays of interactions: targets, histories, and negatives with the chances that they should
have.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.datasets import interactions as module
from ranker.datasets.interactions import Interactions, TooFew, ranges, sample_negatives


def _of(*lists: list[int]) -> Interactions:
    return Interactions(
        np.array([item for one in lists for item in one], np.int32),
        np.concatenate([[0], np.cumsum([len(one) for one in lists])]),
    )


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_ranges_are_those_of_python() -> None:
    begins, counts = np.array([5, 0, 9, 2]), np.array([2, 0, 1, 3])
    expected = [
        number for begin, count in zip(begins, counts, strict=True) for number in range(begin, begin + count)
    ]
    assert ranges(begins, counts).tolist() == expected
    assert ranges(np.array([], int), np.array([], int)).tolist() == []


def test_latest_and_some_have_enough_before_them_and_never_more_than_asked() -> None:
    held = _of([4, 5, 6, 7, 8], [1, 2], [3], list(range(10, 20)))
    everyone = np.arange(4)
    assert held.latest(everyone, 2, 2).tolist() == [3, 4, 16, 17]
    assert held.latest(np.array([0]), 9, 1).tolist() == [1, 2, 3, 4]
    drawn = [tuple(held.some(everyone, 2, 2, _rng(seed))) for seed in range(200)]
    assert all(
        sorted(one) == list(one)
        and [held.owners(np.array(one)).tolist().count(user) for user in range(4)] == [2, 0, 0, 2]
        for one in drawn
    )
    assert {at for one in drawn for at in one} == {2, 3, 4, *range(10, 18)}
    assert held.some(everyone, 99, 1, _rng()).tolist() == held.latest(everyone, 99, 1).tolist()


def test_what_stands_before_a_touch_ends_at_its_user() -> None:
    held = _of([4, 5, 6, 7], [1, 2])
    items, counts = held.before(np.array([1, 3, 5]), 2)
    assert (items.tolist(), counts.tolist()) == ([4, 5, 6, 1], [1, 2, 1])


def test_equal_times_are_shuffled_and_others_keep_their_order() -> None:
    user, item, time = (
        np.array([0, 0, 0, 0, 1, 1]),
        np.array([1, 2, 5, 9, 3, 4], np.int32),
        np.array([7, 7, 8, 9, 9, 9]),
    )
    seen = {tuple(Interactions.gathered([(user, item, time)], 2, _rng(seed)).items) for seed in range(60)}
    assert seen == {(*first, 5, 9, *last) for first in [(1, 2), (2, 1)] for last in [(3, 4), (4, 3)]}
    whole = Interactions.gathered([(user, item, time)], 3, _rng())
    parted = Interactions.gathered(
        [(user[:4], item[:4], time[:4]), (user[4:], item[4:], time[4:])], 3, _rng()
    )
    assert (
        whole.items.tolist() == parted.items.tolist()
        and whole.starts.tolist() == parted.starts.tolist() == [0, 4, 6, 6]
    )


@pytest.mark.parametrize("rounds", [0, 4])
def test_negatives_have_the_chances_of_draws_without_replacement(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first by weight among what is left, the second by weight among the rest; so too where the whole
    catalogue is looked at.
    """
    monkeypatch.setattr(module, "ROUNDS", rounds)
    weight, draws = np.array([8, 4, 2, 1, 5]), 40_000
    found = sample_negatives(_of([4], [0]), np.repeat([0, 1], draws), np.arange(5), weight, 2, _rng(3))
    for user, gone in ((0, 4), (1, 0)):
        left = np.array([0.0 if item == gone else w for item, w in enumerate(weight)])
        expected = np.zeros((5, 5))
        for first in np.flatnonzero(left):
            rest = np.where(np.arange(5) == first, 0.0, left)
            expected[first] = left[first] / left.sum() * rest / rest.sum()
        seen = np.zeros((5, 5))
        np.add.at(seen, tuple(found[user * draws : (user + 1) * draws].T), 1 / draws)
        assert np.abs(seen - expected).max() < 5 * np.sqrt(0.25 / draws)


@given(
    st.lists(st.lists(st.integers(0, 11), max_size=8, unique=True), min_size=1, max_size=5),
    st.integers(0, 99),
    st.sampled_from([1, 6, 10_000]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_was_touched_no_text_of_it_comes_and_none_twice(
    lists: list[list[int]], seed: int, cells: int
) -> None:
    text = np.arange(12) // 2  # two items a text
    users = np.repeat(np.arange(len(lists)), 3)
    barred = [{item // 2 for item in one} for one in lists]
    room = min(6 - len(one) for one in barred)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELLS", cells)
        if room < 2:
            with pytest.raises(TooFew) as error:
                sample_negatives(_of(*lists), users, text, np.arange(1, 7), 2, _rng(seed))
            assert 6 - len(barred[error.value.user]) == error.value.left < 2
            return
        found = sample_negatives(_of(*lists), users, text, np.arange(1, 7), 2, _rng(seed))
    assert all(
        len({*row}) == 2 and {*row} <= set(range(6)) - barred[user]
        for user, row in zip(users, found.tolist(), strict=True)
    )
