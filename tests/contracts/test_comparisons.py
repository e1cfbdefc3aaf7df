"""The contract of `comparisons`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("evaluate", "comparisons/interval", "update {comparisons} set upper = 'nan' where arm = 'rl'"),
    (
        "evaluate",
        "comparisons/arms_evaluated",
        "update {comparisons} set against = 'ghost' where against = 'random'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "comparisons", defect)
