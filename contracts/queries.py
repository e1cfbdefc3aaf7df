"""Contract of `queries`: every query once, and judged. May be empty (recommendation)."""

from __future__ import annotations

from contracts.expect import Expectation, drift, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("task", "query_id", "group_id", "text"),
        *not_empty("text"),
        unique("task", "query_id"),
        *none_of(["queries/judged", "queries/source_known"]),
        *drift("queries", "text"),
    ]
