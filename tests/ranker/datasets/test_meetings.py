"""Meetings that options leave out, counted; as readers use it: test_recbole.py, test_tables.py."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.datasets import _meetings
from ranker.datasets.files import LEAVE_OUT
from ranker.errors import BadSource


@given(st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("1234"), st.integers(0, 9)), min_size=1))
def test_of_each_user_and_item_the_earliest_meeting_stays_and_all_others_are_counted(
    met: list[tuple[str, str, int]],
) -> None:
    rows = pl.DataFrame(met, schema=["user_id", "item_id", "timestamp"], orient="row").with_row_index(
        "row", 1
    )
    items = pl.DataFrame({"item_id": ["1", "2", "3"]})
    chosen = {**_meetings.DEFAULTS, "repeats": LEAVE_OUT, "unknown_items": LEAVE_OUT}
    left_out: dict[str, int] = {}
    if all(item == "4" for _, item, _ in met):
        with pytest.raises(BadSource, match="their items are not among the items"):
            _meetings.kept(Path("p"), rows, items, chosen, left_out)
        return
    kept = _meetings.kept(Path("p"), rows, items, chosen, left_out)
    first: dict[tuple[str, str], int] = {}
    for user, item, at in met:
        if item != "4":
            first[user, item] = min(at, first.get((user, item), at))
    assert {(u, i): t for u, i, t in kept.select("user_id", "item_id", "timestamp").iter_rows()} == first
    assert kept.height + sum(left_out.values()) == len(met)
