"""Contract of `traffic_estimates`: both estimators once, with intervals, of some requests."""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("nothing was estimated"),
        *not_null("model", "task", "strategy", "thinking", "value", "gain", "measured_at"),
        one_of("estimator", "SNIPS", "DR"),
        unique("model", "task", "estimator"),
        between("requests", 1),
        between("depth", 2),
        between("covered", 0, 1),
        between("effective", 0),
        *none_of(["traffic_estimates/interval"]),
    ]
