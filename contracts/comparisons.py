"""Contract of `comparisons`: finite paired differences between arms of the same evaluation. May be empty."""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null(
            "task",
            "strategy",
            "thinking",
            "metric",
            "arm",
            "against",
            "difference",
            "lower",
            "upper",
            "queries",
        ),
        between("queries", 1),
        unique("task", "strategy", "thinking", "metric", "arm", "against"),
        *none_of(["comparisons/interval", "comparisons/arms_evaluated"]),
    ]
