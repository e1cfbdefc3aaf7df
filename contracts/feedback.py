"""Contract of `feedback`: every event counts once, has happened, and has a value where it is a rating.

Whether its request and document are known is for the views: a request may be collected later, and one
client's mistake must not keep out what others sent.
"""

from __future__ import annotations

from contracts.expect import Expectation, none_of, not_empty, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("event_id", "set_id", "item_id", "event", "happened_at", "received_at"),
        *not_empty("event_id", "set_id", "item_id"),
        one_of("event", "click", "rating", "purchase"),
        unique("event_id"),
        *none_of(["feedback/counted_once", "feedback/rated", "feedback/in_time"]),
    ]
