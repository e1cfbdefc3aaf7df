"""Contract of `served_orders`: every request has the order in which it was shown, of its own documents, with
the chance by which it was drawn.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("set_id", "shown", "share", "depth", "drawn"),
        unique("set_id"),
        between("share", 0, 1),
        between("depth", 0, 702),
        between("propensity", 0, 1),
        *none_of(
            [
                "served_orders/one_request",
                "served_orders/of_the_pool",
                "served_orders/as_drawn",
                "served_orders/teams_fit",
            ]
        ),
    ]
