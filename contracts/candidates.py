"""Contract of `candidates`: slots, labels, items and texts once per set, a shown order that tells nothing,
relevance as judged, and nothing that the user has touched among the negatives.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows(),
        *not_null("set_id", "slot", "label", "item_id", "text", "relevance", "origin", "prior"),
        *not_empty("label", "text"),
        between("relevance", 0, 1_000),
        unique("set_id", "slot"),
        unique("set_id", "label"),
        unique("set_id", "item_id", remedy="draw every item at most once per set"),
        *none_of(["candidates/set_known", "candidates/slots", "candidates/text_once"]),
        *none_of(
            ["candidates/slot_of_best_uniform", "candidates/item_known", "candidates/relevance_as_judged"]
        ),
        *none_of(
            ["candidates/not_in_history", "candidates/negatives_untouched", "candidates/positives_touched"]
        ),
        *none_of(["candidates/drift_labels"], "warning"),
    ]
