"""One thin task a stage: opens the lake, calls `ranker`, has the contract judge, publishes an artifact.

A stage that an earlier run has done ends in a state named "Skipped".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, cast

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import artifacts
from flows.policies import STAGE_POLICY
from ranker.config import STAGES, RetrainParams, Stage
from ranker.errors import BatchRejected, StageMissing
from ranker.lake import Lake, open_lake
from ranker.refs import Ref, Staged, Verdict

P = ParamSpec("P")


@dataclass(frozen=True)
class StageContext:
    """What a stage works with: the lake, where to report progress, and the gate (`check`, `force`) that
    goes through to `ranker`.
    """

    lake: Lake
    log: Callable[[str], None]
    gate: dict[str, Any]


Work = Callable[Concatenate[StageContext, RetrainParams, P], Ref]


class StageTask(Generic[P]):
    """A stage as a Prefect task.

    Called with the parameters and the Refs that it reads, it gives its own Ref.
    """

    def __init__(self, work: Work[P]) -> None:
        self.work = work
        self.stage: Stage = cast(Stage, work.__name__)
        self.task: Any = task(
            cast(Any, self._perform),
            name=self.stage,
            task_run_name=self.stage,
            description=work.__doc__,
            **STAGE_POLICY,
        )

    def __call__(self, params: RetrainParams, *inputs: P.args, **named: P.kwargs) -> Ref:
        return cast(State[Ref], self.task(params, *inputs, **named)).result()

    def finished(self, params: RetrainParams, *inputs: P.args, **named: P.kwargs) -> Ref:
        """The Ref of an earlier run with these parameters and inputs.

        Raises:
            StageMissing: there is none.
        """
        with open_lake(params.home_path, params.lake) as lake:
            bench = StageContext(
                cast(Lake, _FinishedOnly(lake, self.stage)),
                get_run_logger().info,
                {"check": validate_batch, "force": False},
            )
            return self.work(bench, params, *inputs, **named)

    def _perform(self, params: RetrainParams, *inputs: P.args, **named: P.kwargs) -> State[Ref]:
        log = get_run_logger()
        logging.getLogger("ranker").setLevel(logging.INFO)
        log.info("stage %d of %d: %s", STAGES.index(self.stage) + 1, len(STAGES), self.stage)
        with open_lake(params.home_path, params.lake) as lake:
            lake.flow_run = flow_run.id
            try:
                ref = self.work(
                    StageContext(
                        lake, log.info, {"check": validate_batch, "force": self.stage in params.force}
                    ),
                    params,
                    *inputs,
                    **named,
                )
            except BatchRejected as refused:
                artifacts.publish_refusal(self.stage, refused)
                artifacts.publish_contracts(lake)
                raise
            artifacts.publish(lake, ref)
            artifacts.publish_contracts(lake)
        return _state(ref)


class _FinishedOnly:
    """A lake in which a stage can be found but not made."""

    def __init__(self, lake: Lake, stage: Stage) -> None:
        self._lake, self._stage = lake, stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    def finished(self, stage: Stage, key: str) -> Ref:
        found = self._lake.finished(stage, key)
        if found is None:
            raise StageMissing(
                f"what this stage reads must have been produced: {stage} has not",
                seen=f"no run of {stage} under {key} with these parameters",
                remedy=(
                    f"run `ranker run {stage}` with the same options first, or `ranker retrain` for all"
                    " stages"
                ),
            )
        return found


def _state(ref: Ref) -> State[Ref]:
    written = ", ".join(f"{table} {count:,}" for table, count in ref.rows.items()) or "nothing"
    if ref.skipped:
        return Completed(name="Skipped", message=f"done by an earlier run: {written}", data=ref)
    return Completed(message=written, data=ref)


def validate_batch(staged: Staged) -> list[Verdict]:
    """The contract gate, loaded when the first batch is to be judged: Great Expectations takes seconds to
    import.
    """
    from contracts.gate import validate_batch

    return validate_batch(staged)


@StageTask
def ingest(bench: StageContext, params: RetrainParams) -> Ref:
    """Read every task's source into normalised tables."""
    from ranker.stages import ingest

    return ingest.run(bench.lake, params.ingest, **bench.gate)


@StageTask
def candidates(bench: StageContext, params: RetrainParams, source: Ref) -> Ref:
    """Split, and draw the candidate pool of every query."""
    from ranker.stages import candidates

    return candidates.run(bench.lake, params.candidates, source=source, **bench.gate)


@StageTask
def distill(bench: StageContext, params: RetrainParams, sets: Ref) -> Ref:
    """Have a teacher write reasoning traces for training queries."""
    from ranker.stages import distill

    return distill.run(bench.lake, params.distill, sets=sets, policy=params.train.policy, **bench.gate)


@StageTask
def train(bench: StageContext, params: RetrainParams, sets: Ref, traces: Ref) -> Ref:
    """SFT on the traces, then GRPO, in a process of its own."""
    from ranker.train import job

    return job.run(bench.lake, params.train, sets=sets, traces=traces, log=bench.log, **bench.gate)


@StageTask
def evaluate(bench: StageContext, params: RetrainParams, sets: Ref, traces: Ref, trained: Ref) -> Ref:
    """Every model and baseline on the frozen test queries, beside the champion where another model is
    that.
    """
    from ranker.stages import evaluate, register

    champion = register.champion(bench.lake.home, params.register_, besides=trained.key)
    return evaluate.run(
        bench.lake,
        params.evaluate,
        sets=sets,
        traces=traces,
        trained=trained,
        champion=champion,
        log=bench.log,
        **bench.gate,
    )


@StageTask
def register(bench: StageContext, params: RetrainParams, trained: Ref, scores: Ref) -> Ref:
    """A model version in MLflow, and what the promotion rule says of it."""
    from ranker.stages import register

    return register.run(bench.lake, params.register_, trained=trained, scores=scores, **bench.gate)
