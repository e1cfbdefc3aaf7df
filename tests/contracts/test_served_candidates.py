"""The contract of `served_candidates`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("serve", "served_candidates/request_known", "delete from {served_requests} where task = 'rec-movie'"),
    (
        "serve",
        "served_candidates/as_ranked",
        "update {served_candidates} set place = 1 + place % 2 where place < 3",
    ),
    ("serve", "served_candidates/as_ranked", "update {served_candidates} set slot = 1 - slot where slot < 2"),
    (
        "serve",
        "set_id, label are together unique",
        "update {served_candidates} set label = 'B' where slot = 0",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "served_candidates", defect)
