"""The contract of `sealed_readings`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("audit", "sealed_readings/interval", "update {sealed_readings} set rr = upper + 0.1"),
    ("audit", "sealed_readings/interval", "update {sealed_readings} set against = null"),
    ("audit", "task is unique", "insert into {sealed_readings} from {sealed_readings} limit 1"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "sealed_readings", defect)
