"""The contract of `model_versions`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("register", "model_versions/stages_known", "update {model_versions} set train_key = 'ghost'"),
    ("register", "alias is one of", "update {model_versions} set alias = 'best'"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "model_versions", defect)
