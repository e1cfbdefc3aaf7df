"""Contract of `served_requests`: every request asks for something, has all its documents, and exactly one
episode by the model that it names.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null(
            "set_id",
            "served_at",
            "task",
            "query",
            "query_items",
            "pool_size",
            "model",
            "version",
            "milliseconds",
        ),
        *not_empty("set_id", "task", "model"),
        unique("set_id"),
        between(
            "pool_size",
            2,
            702,
            remedy="a request for a single document is answered without a ranking, and not written",
        ),
        between("milliseconds", 0),
        *none_of(["served_requests/one_episode", "served_requests/pool_whole", "served_requests/asks"]),
    ]
