"""The contract of `teacher_scores`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "distill",
        "teacher_scores/candidate_known",
        "update {teacher_scores} set label = 'ZZ' where label = 'A'",
    ),
    ("distill", "teacher_scores/finite", "update {teacher_scores} set score = 'nan' where label = 'A'"),
    (
        "distill",
        "teacher_scores/pools_whole",
        (
            "delete from {teacher_scores} where label = 'A' and set_id = (select min(set_id) from"
            " {teacher_scores})"
        ),
    ),
    (
        "distill",
        "set_id, label, teacher are together unique",
        "insert into {teacher_scores} from {teacher_scores} where label = 'A'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "teacher_scores", defect)
