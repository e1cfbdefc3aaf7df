"""The contract of `interactions`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "ingest",
        "rating is between 0 and 10",
        "update {interactions} set rating = 11 where task = 'rec-movie' and user_id = '1'",
    ),
    (
        "ingest",
        "interactions/item_known",
        "update {interactions} set item_id = 'ghost' where task = 'rec-movie' and user_id = '1'",
    ),
    ("ingest", "interactions/source_known", "update {interactions} set task = 'ghost' where user_id = '1'"),
    ("ingest", "drift/rows", "delete from {interactions} where task = 'rec-movie' and user_id > '12'"),
    ("ingest", "interactions/drift_ratings", "update {interactions} set rating = least(rating + 3, 10)"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "interactions", defect)
