"""Contract of `items`: every item once, with a text to show."""

from __future__ import annotations

from contracts.expect import Expectation, drift, has_rows, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("the source lists nothing that could be ranked"),
        *not_null("task", "item_id", "title", "text"),
        *not_empty("item_id", "text"),
        unique("task", "item_id"),
        *none_of(["items/source_known"]),
        *drift("items", "text"),
    ]
