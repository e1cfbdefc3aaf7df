"""Candidate sets as values."""

from __future__ import annotations

import pytest

from ranker.types import slot_labels
from tests.ranker.factories import make_set


def test_labels_are_letters_and_then_pairs_of_them_each_once() -> None:
    assert slot_labels(28)[-3:] == ("Z", "AA", "AB")
    assert len(set(slot_labels(702))) == 702
    with pytest.raises(ValueError, match="at most 702"):
        slot_labels(703)


def test_what_is_left_of_a_set_keeps_order_and_labels() -> None:
    given = make_set([0, 1, 2, 3])
    left = given.keep(["D", "B"])
    assert left.labels == ("B", "D") and left.relevance == {"B": 1.0, "D": 3.0} and len(left) == 2
    assert (left.set_id, left.query) == (given.set_id, given.query) and len(given) == 4
