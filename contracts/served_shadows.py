"""Contract of `served_shadows`: every row is of a request that was answered, with exactly one episode by the
model that it names, of the same documents.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_empty, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("set_id", "model", "version", "milliseconds"),
        *not_empty("model"),
        unique("set_id"),
        between("milliseconds", 0),
        *none_of(
            ["served_shadows/request_known", "served_shadows/one_episode", "served_shadows/same_documents"]
        ),
    ]
