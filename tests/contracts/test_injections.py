"""The contract of `injections`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "injection",
        "injections/interval",
        "update {injections} set rise = upper + 0.1 where control = 'control'",
    ),
    ("injection", "injections/interval", "update {injections} set rise = null where text = 'pity'"),
    ("injection", "injections/control_measured", "delete from {injections} where text = 'control, before'"),
    (
        "injection",
        "model, task, strategy, thinking, text are together unique",
        "insert into {injections} from {injections} where text = 'pity'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "injections", defect)
