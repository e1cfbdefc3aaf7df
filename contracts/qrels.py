"""Contract of `qrels`: one judgement per query and item, of things that were read.

May be empty (recommendation).
"""

from __future__ import annotations

from contracts.expect import Expectation, between, drift, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("task", "query_id", "item_id", "relevance"),
        between("relevance", 0, 1_000, remedy="relevance is a grade, 0 for not relevant"),
        unique("task", "query_id", "item_id", remedy="keep one judgement per query and item"),
        *none_of(["qrels/references"]),
        *drift("qrels"),
        *none_of(["qrels/drift_labels"], "warning"),
    ]
