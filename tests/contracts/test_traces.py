"""The contract of `traces`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import OWN_SETS, Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "distill",
        "traces/set_in_train",
        (
            "update {traces} set set_id = (select min(set_id) from candidate_sets where split = 'test' and"
            f" task = 'synthetic' and {OWN_SETS}) where trace_id = (select min(trace_id) from {{traces}}"
            " where task = 'synthetic')"
        ),
    ),
    (
        "distill",
        "traces/pool_known",
        (
            "update {traces} set pool = list_append(pool, 'ZZ') where trace_id = (select min(trace_id) from"
            " {traces})"
        ),
    ),
    (
        "distill",
        "traces/action_in_pool",
        "update {traces} set action = ['ZZ'] where trace_id = (select min(trace_id) from {traces})",
    ),
    (
        "distill",
        "traces/accepted_or_reason",
        (
            "update {traces} set reason = 'odd' where trace_id = (select min(trace_id) from {traces} where"
            " accepted)"
        ),
    ),
    (
        "distill",
        "traces/accepted_is_complete",
        (
            "update {traces} set action = action[:-2] where trace_id = (select min(trace_id) from {traces}"
            " where accepted and mode = 'rank' and len(action) > 2)"
        ),
    ),
    (
        "distill",
        "traces/answer_is_action",
        (
            "update {traces} set completion = replace(completion, '<answer> A </answer>', '<answer> B"
            " </answer>') where trace_id = (select min(trace_id) from {traces} where action = ['A'])"
        ),
    ),
    (
        "distill",
        "traces/accepted_by_label",
        (
            "update {traces} set accepted = true, reason = '' where trace_id = (select min(trace_id) from"
            " {traces} where reason = 'excludes_best')"
        ),
    ),
    (
        "distill",
        "traces/accepted_by_label",
        (
            "update {traces} set accepted = true, reason = '' where trace_id = (select min(trace_id) from"
            " {traces} where reason = 'ranks_best_low')"
        ),
    ),
    (
        "distill",
        "trace_id is unique",
        "insert into {traces} from {traces} where trace_id = (select min(trace_id) from {traces})",
    ),
    (
        "distill",
        "traces/drift_rejected",
        "update {traces} set accepted = false, reason = 'odd' where trace_id < '8'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "traces", defect)
