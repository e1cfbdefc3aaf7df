"""Retries: for faults that may pass, and for nothing else."""

from __future__ import annotations

import pytest
from prefect import flow, task
from prefect.states import Failed

from flows.policies import STAGE_POLICY, passing
from ranker.errors import BadSource, ContractViolated, LakeBusy, RankerError, TrainingFailed, Transient


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Transient("a", seen="b", remedy="c"), True),
        (LakeBusy("a", seen="b", remedy="c"), True),
        (ContractViolated("a", seen="b", remedy="c"), False),
        (BadSource("a", seen="b", remedy="c"), False),
        (TrainingFailed("a", seen="b", remedy="c"), False),
        (ValueError("a bug"), False),
        (MemoryError(), False),
    ],
)
def test_only_what_may_pass_is_worth_a_retry(error: Exception, again: bool) -> None:
    assert passing(None, None, Failed(data=error)) is again  # type: ignore[arg-type]


@pytest.mark.parametrize(("error", "attempts"), [(LakeBusy, 3), (ContractViolated, 1)])
def test_a_task_with_the_policy_behaves_so(error: type[RankerError], attempts: int) -> None:
    seen: list[int] = []

    @task(**{**STAGE_POLICY, "retry_delay_seconds": 0, "retry_jitter_factor": None})
    def fails_twice() -> str:
        seen.append(1)
        if len(seen) < 3:
            raise error("rule", seen="value", remedy="mend it")
        return "done"

    @flow
    def trial() -> str:
        return fails_twice()

    if error is LakeBusy:
        assert trial() == "done"
    else:
        with pytest.raises(error):
            trial()
    assert len(seen) == attempts


def test_delays_grow() -> None:
    delays = STAGE_POLICY["retry_delay_seconds"]
    assert delays == sorted(delays) and len(delays) == STAGE_POLICY["retries"]
