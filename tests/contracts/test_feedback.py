"""The contract of `feedback`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

ONE = "event_id = (select min(event_id) from {feedback})"
DEFECTS: list[Defect] = [
    (
        "feedback",
        "feedback/counted_once",
        "update {feedback} set event_id = (select min(event_id) from feedback where batch_id not in (select"
        " batch_id from {feedback})) where " + ONE,
    ),
    ("feedback", "feedback/rated", "update {feedback} set value = null where event = 'rating'"),
    ("feedback", "feedback/rated", "update {feedback} set value = 1 where event = 'click'"),
    (
        "feedback",
        "feedback/in_time",
        "update {feedback} set happened_at = received_at + interval 6 minutes where " + ONE,
    ),
    ("feedback", "event is one of click", "update {feedback} set event = 'view' where " + ONE),
    ("feedback", "event_id is unique", "insert into {feedback} from {feedback}"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "feedback", defect)
