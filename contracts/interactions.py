"""Contract of `interactions`: every user and item once, ratings on a scale of at most 0 to 10. May be
empty (passages, routing).
"""

from __future__ import annotations

from contracts.expect import Expectation, between, drift, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("task", "user_id", "item_id", "happened_at"),
        between("rating", 0, 10, remedy="mend the ratings in the source file; 0 to 10 is allowed, empty too"),
        unique("task", "user_id", "item_id", remedy="keep one row per user and item in the source file"),
        *none_of(["interactions/item_known", "interactions/source_known"]),
        *drift("interactions"),
        *none_of(["interactions/drift_ratings"], "warning"),
    ]
