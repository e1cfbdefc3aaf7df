"""Contract of `training_metrics`: one value per phase, step and name; losses and rewards are finite. Empty
where no phase runs.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("phase", "step", "name", "value"),
        one_of("phase", "sft", "rl"),
        between("step", 0),
        unique("phase", "step", "name"),
        *none_of(["training_metrics/finite"]),
    ]
