"""Contract of `model_versions`: an alias, a verdict, and the training and evaluation that the version was
made from.
"""

from __future__ import annotations

from contracts.expect import Expectation, has_rows, none_of, not_empty, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows(),
        *not_null(
            "name", "version", "run_id", "train_key", "evaluate_key", "alias", "verdict", "registered_at"
        ),
        *not_empty("version", "verdict"),
        one_of("alias", "champion", "challenger"),
        unique("name", "version"),
        *none_of(["model_versions/stages_known"]),
    ]
