"""Contract of `sealed_readings`: a reading once per task, means and differences inside their intervals."""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("nothing was read; are there sealed queries?"),
        *not_null("name", "version", "task", "queries", "rr", "lower", "upper", "read_at"),
        between("queries", 1),
        between("rr", 0, 1),
        unique("task"),
        *none_of(["sealed_readings/interval"]),
    ]
