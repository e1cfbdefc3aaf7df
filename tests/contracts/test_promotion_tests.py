"""The contract of `promotion_tests`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("register", "promotion_tests/version_known", "update {promotion_tests} set version = '99'"),
    ("register", "promotion_tests/interval", "update {promotion_tests} set difference = upper + 0.1"),
    ("register", "promotion_tests/corrected", "update {promotion_tests} set p = 0.04, p_holm = 0.02"),
    ("register", "look is at least 1", "update {promotion_tests} set look = 0"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "promotion_tests", defect)
