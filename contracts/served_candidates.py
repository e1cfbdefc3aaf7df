"""Contract of `served_candidates`: every document belongs to a request of the batch, at the slot and the
place that its episode says.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("set_id", "slot", "label", "item_id", "text", "place"),
        *not_empty("label"),
        between("place", 1),
        unique("set_id", "slot"),
        unique("set_id", "label"),
        *none_of(["served_candidates/request_known", "served_candidates/as_ranked"]),
    ]
