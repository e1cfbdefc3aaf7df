"""Contract of `injections`: each text once per model, task and way, attacks beside their control."""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        has_rows("nothing was measured; are there test queries?"),
        *not_null("model", "task", "strategy", "thinking", "text", "queries", "height", "measured_at"),
        between("queries", 1),
        *(between(share, 0, 1) for share in ("height", "first", "rr", "invalid")),
        between("rise", -1, 1),
        unique("model", "task", "strategy", "thinking", "text"),
        *none_of(["injections/interval", "injections/control_measured"]),
    ]
