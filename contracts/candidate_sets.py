"""Contract of `candidate_sets`: pools as promised, each with a positive, histories from before their target,
and a split that no group or query crosses, or no moment.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, drift, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("no query has enough candidates; lower candidates.pool_size or give more data"),
        *not_null("set_id", "task", "split", "query_id", "group_id", "query", "query_items", "pool_size"),
        unique("set_id"),
        one_of("split", "train", "valid", "test"),
        between(
            "pool_size",
            2,
            702,
            remedy="a pool of one cannot be ranked; raise candidates.pool_size or drop the query",
        ),
        *none_of(["candidate_sets/pool_as_promised", "candidate_sets/has_positive"]),
        *none_of(
            [
                "candidate_sets/group_on_one_side",
                "candidate_sets/query_on_one_side",
                "candidate_sets/text_on_one_side",
            ]
        ),
        *none_of(["candidate_sets/near_duplicates"], bound="0.1"),
        *none_of(["candidate_sets/query_known", "candidate_sets/history_touched"]),
        *none_of(["candidate_sets/history_before_target", "candidate_sets/side_of_its_time"]),
        *none_of(["candidate_sets/near_duplicates"], "warning", bound="0"),
        *drift("candidate_sets", "query"),
    ]
