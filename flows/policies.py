"""What holds for every stage's task: what is worth a retry, and that the lake alone says what is done."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from ranker.errors import Transient
from ranker.types import JsonObject

RETRIES = 3
FIRST_DELAY_SECONDS = 5


def passing(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed attempt is worth repeating: only faults that may pass by themselves.

    Bad data, bad parameters and a trainer that died would fail again in the same way.
    """
    return isinstance(state.result(raise_on_failure=False), Transient)


STAGE_POLICY: JsonObject = {
    "retries": RETRIES,
    "retry_delay_seconds": [FIRST_DELAY_SECONDS * 2**attempt for attempt in range(RETRIES)],
    "retry_jitter_factor": 0.5,  # runs that were refused by the same catalog should not come back together
    "retry_condition_fn": passing,
    # A result cache would go on saying "done" after somebody has deleted the lake: stage_runs decides.
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
