"""Contract of `traces`: written on training sets only, their actions inside their pools and as answered,
accepted only where their labels agree, a reason exactly where rejected, their cost known.
"""

from __future__ import annotations

import json

from contracts.expect import Expectation, between, drift, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    wanted = json.loads(staged.parameters).get("params", {}).get("traces", 1)
    return [
        *([has_rows("no trace was written; are there training sets?")] if wanted else []),
        *not_null(
            "trace_id",
            "set_id",
            "task",
            "mode",
            "thinking",
            "pool",
            "teacher",
            "teacher_kind",
            "completion",
            "action",
            "accepted",
            "reason",
            "cost",
        ),
        unique("trace_id"),
        one_of("mode", "exclude", "rank"),
        one_of("teacher_kind", "classical", "model"),
        between("prompt_tokens", 0),
        between("completion_tokens", 0),
        between("cost", 0),
        *none_of(["traces/set_in_train", "traces/pool_known", "traces/action_in_pool"]),
        *none_of(["traces/accepted_or_reason", "traces/accepted_is_complete"]),
        *none_of(["traces/answer_is_action", "traces/accepted_by_label"]),
        *drift("traces", "completion"),
        *none_of(["traces/drift_rejected"], "warning"),
    ]
