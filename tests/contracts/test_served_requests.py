"""The contract of `served_requests`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "serve",
        "served_requests/one_episode",
        "update {served_requests} set model = 'ghost' where task = 'rec-movie'",
    ),
    (
        "serve",
        "served_requests/one_episode",
        "update {episodes} set set_id = 'ghost' where task = 'rec-movie'",
    ),
    ("serve", "served_requests/pool_whole", "delete from {served_candidates} where slot = 0"),
    (
        "serve",
        "served_requests/asks",
        "update {served_requests} set query = ' ', query_items = [] where task = 'rec-movie'",
    ),
    (
        "serve",
        "set_id is unique",
        "insert into {served_requests} from {served_requests} where task = 'rec-movie'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "served_requests", defect)
