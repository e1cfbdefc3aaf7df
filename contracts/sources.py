"""Contract of `sources`: one row a task, and every task gives items and something to learn from."""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows(),
        *not_null("task", "reader", "location", "content_digest", "rows_read"),
        *not_empty("content_digest"),
        between("rows_read", 1, remedy="give the source rows"),
        unique("task"),
        *none_of(["sources/has_items", "sources/has_signal"]),
    ]
