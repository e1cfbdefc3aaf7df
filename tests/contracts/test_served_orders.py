"""The contract of `served_orders`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("serve", "served_orders/one_request", "delete from {served_orders} where set_id like 'direct %'"),
    ("serve", "served_orders/one_request", "update {served_orders} set set_id = 'ghost ' || set_id"),
    ("serve", "served_orders/of_the_pool", "update {served_orders} set shown = list_append(shown, 'ZZ')"),
    ("serve", "served_orders/of_the_pool", "update {served_orders} set shown = list_append(shown, shown[1])"),
    ("serve", "served_orders/as_drawn", "update {served_orders} set shown = list_reverse(shown)"),
    ("serve", "served_orders/as_drawn", "update {served_orders} set propensity = 0.5"),
    ("serve", "propensity is between 0 and 1", "update {served_orders} set propensity = 1.5"),
    ("serve", "served_orders/teams_fit", "update {served_orders} set propensity = null"),
    (
        "serve",
        "served_orders/teams_fit",
        "update {served_orders} set propensity = null, teams = list_transform(shown, lambda label: 'served')",
    ),
    ("serve", "set_id is unique", "insert into {served_orders} from {served_orders}"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "served_orders", defect)
