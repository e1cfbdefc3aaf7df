"""The contract of `evaluations`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "evaluate",
        "evaluations/has_random",
        "delete from {evaluations} where arm = 'random' and task = 'synthetic'",
    ),
    (
        "evaluate",
        "evaluations/shares",
        "update {evaluations} set value = 1.5, upper = 2 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations/interval",
        "update {evaluations} set lower = upper + 0.1 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations/episodes_counted",
        "update {evaluations} set queries = queries - 1 where arm = 'rl' and metric = 'RR'",
    ),
    (
        "evaluate",
        "evaluations/sets_known",
        "update {evaluations} set task = 'ghost' where arm = 'popularity'",
    ),
    (
        "evaluate",
        "metric is one of",
        "update {evaluations} set metric = 'MAP' where arm = 'rl' and metric = 'RR'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "evaluations", defect)
