"""The contract of `traffic_estimates`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("traffic", "traffic_estimates/interval", "update {traffic_estimates} set lower = upper + 1"),
    ("traffic", "traffic_estimates/interval", "update {traffic_estimates} set effective = 2 * requests"),
    ("traffic", "covered is between 0 and 1", "update {traffic_estimates} set covered = 2"),
    ("traffic", "estimator is one of SNIPS", "update {traffic_estimates} set estimator = 'IPS'"),
    ("traffic", "has rows", "delete from {traffic_estimates}"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "traffic_estimates", defect)
