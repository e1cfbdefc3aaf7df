"""Contract of `evaluations`: every metric once per arm, in its range, and a random row on every task."""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("no test query was evaluated; are there test sets?"),
        *not_null("task", "arm", "model", "strategy", "thinking", "metric", "value", "queries"),
        one_of(
            "metric",
            "RR",
            "nDCG@5",
            "nDCG@10",
            "Hit@1",
            "Hit@3",
            "malformed",
            "calls",
            "prompt_tokens",
            "completion_tokens",
        ),
        between("queries", 1),
        unique("task", "arm", "strategy", "thinking", "metric"),
        *none_of(["evaluations/has_random", "evaluations/shares", "evaluations/interval"]),
        *none_of(["evaluations/sets_known", "evaluations/episodes_counted"]),
    ]
