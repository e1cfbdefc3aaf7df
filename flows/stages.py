"""One task a stage: opens the lake, calls `ranker`, has the contract judge, publishes an artifact.

A stage that an earlier run has done ends in a state named "Skipped". Every task takes the parameters and the
Refs that its stage reads, and gives the Ref of what it wrote as the result of its state. `only_finished` asks
for the Ref of an earlier run and raises StageMissing where there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import artifacts
from flows.policies import STAGE_POLICY
from ranker.cli.interrupts import interruptible
from ranker.config import STAGES, RetrainParams, Stage
from ranker.errors import BatchRejected, RankerError
from ranker.lake import Lake, open_lake
from ranker.refs import Champion, Ref, Staged, Verdict
from ranker.resources import keep_private
from ranker.types import JsonObject


@task(task_run_name="ingest", **STAGE_POLICY)
def ingest(params: RetrainParams, only_finished: bool = False) -> State[Ref]:
    """Read every task's source into normalised tables."""
    from ranker.stages import ingest

    with opened("ingest", params, only_finished) as stage:
        return stage.done(ingest.run(stage.lake, params.ingest, **stage.how))


@task(task_run_name="candidates", **STAGE_POLICY)
def candidates(params: RetrainParams, source: Ref, only_finished: bool = False) -> State[Ref]:
    """Split, and draw the candidate pool of every query."""
    from ranker.stages import candidates

    with opened("candidates", params, only_finished) as stage:
        return stage.done(candidates.run(stage.lake, params.candidates, source=source, **stage.how))


@task(task_run_name="distill", **STAGE_POLICY)
def distill(params: RetrainParams, sets: Ref, only_finished: bool = False) -> State[Ref]:
    """Have a teacher write reasoning traces for training queries."""
    from ranker.stages import distill

    with opened("distill", params, only_finished) as stage:
        policy = params.train.policy
        return stage.done(
            distill.run(
                stage.lake, params.distill, sets=sets, policy=policy, fan_out=params.fan_out, **stage.how
            )
        )


@task(task_run_name="train", **STAGE_POLICY)
def train(params: RetrainParams, sets: Ref, traces: Ref, only_finished: bool = False) -> State[Ref]:
    """SFT on the traces, then GRPO, in a process of its own."""
    from flows.trainer import deployed
    from ranker.train import job

    elsewhere = deployed(params.train_deployment, params.train_home) if params.train_deployment else None
    with opened("train", params, only_finished) as stage:
        return stage.done(
            job.run(
                stage.lake,
                params.train,
                sets=sets,
                traces=traces,
                log=stage.log,
                launcher=elsewhere,
                champion=_warm_start(stage, params, sets, traces),
                follow=_follow(stage, params),
                **stage.how,
            )
        )


def _follow(stage: StageContext, params: RetrainParams) -> Callable[[str, pl.DataFrame], None]:
    """Shows a training's curves while it goes on: in Prefect, and in MLflow unless that cannot be reached."""
    from ranker.stages import registry_runs

    def follow(key: str, points: pl.DataFrame) -> None:
        artifacts.publish_curves(key, points)
        try:
            registry_runs.follow(stage.lake.home, params.register_, key, points)
        except RankerError as fault:
            stage.log(f"MLflow does not have the newest points of the curves: {fault}")

    return follow


def _warm_start(stage: StageContext, params: RetrainParams, sets: Ref, traces: Ref) -> Champion | None:
    """The champion that training goes on from, where the parameters say so and there is one."""
    from ranker.stages import registry
    from ranker.train import job

    if params.train.policy.init_from != "champion":
        return None
    found = registry.warm_start(
        stage.lake.home, params.register_, lambda champion: job.key_from(params.train, sets, traces, champion)
    )
    if found is None:
        stage.log(f"no champion yet: training begins with {params.train.policy.model_name_or_path}")
    return found


@task(task_run_name="evaluate", **STAGE_POLICY)
def evaluate(
    params: RetrainParams, sets: Ref, traces: Ref, trained: Ref, only_finished: bool = False
) -> State[Ref]:
    """Every model and baseline on the frozen test queries, beside the champion where another model is
    that.
    """
    from ranker.stages import evaluate, register, registry

    with opened("evaluate", params, only_finished) as stage:
        champion = registry.champion(stage.lake.home, params.register_, besides=trained.key)
        if champion is not None and params.register_.promote and not only_finished:
            for sentence in register.plan(stage.lake, params.register_, params.evaluate, sets.key, champion):
                stage.log(sentence)
        return stage.done(
            evaluate.run(
                stage.lake,
                params.evaluate,
                sets=sets,
                traces=traces,
                trained=trained,
                champion=champion,
                log=stage.log,
                fan_out=params.fan_out,
                **stage.how,
            )
        )


@task(task_run_name="evaluate", **STAGE_POLICY)
def evaluate_champion(
    params: RetrainParams, sets: Ref, champion: Champion, only_finished: bool = False
) -> State[Ref]:
    """The champion alone on the frozen test queries, beside the baselines."""
    from ranker.stages import evaluate

    with opened("evaluate", params, only_finished) as stage:
        return stage.done(
            evaluate.run_champion(
                stage.lake,
                params.evaluate,
                sets=sets,
                champion=champion,
                log=stage.log,
                fan_out=params.fan_out,
                **stage.how,
            )
        )


@task(task_run_name="register", **STAGE_POLICY)
def register(params: RetrainParams, trained: Ref, scores: Ref, only_finished: bool = False) -> State[Ref]:
    """A model version in MLflow, and what the promotion rule says of it."""
    from ranker.stages import register

    with opened("register", params, only_finished) as stage:
        return stage.done(
            register.run(stage.lake, params.register_, trained=trained, scores=scores, **stage.how)
        )


@dataclass(frozen=True)
class StageContext:
    """What a stage works with: the lake, where to report progress, and `how` to run it: the contract gate,
    whether to repeat it, and whether only finished work is asked for.
    """

    lake: Lake
    log: Callable[[str], None]
    how: JsonObject

    def done(self, ref: Ref) -> State[Ref]:
        """Publish what came of the stage, and give the state in which its task ends."""
        if not self.how["only_finished"]:
            artifacts.publish(self.lake, ref)
            artifacts.publish_contracts(self.lake)
        written = ", ".join(f"{table} {count:,}" for table, count in ref.rows.items()) or "nothing"
        if ref.skipped:
            return Completed(name="Skipped", message=f"done by an earlier run: {written}", data=ref)
        return Completed(message=written, data=ref)


@contextmanager
def opened(stage: Stage, params: RetrainParams, only_finished: bool) -> Iterator[StageContext]:
    """The lake opened for a stage's task; a batch that its contract refuses is published before it is
    raised.
    """
    log = get_run_logger()
    logging.getLogger("ranker").setLevel(logging.INFO)
    keep_private()
    log.info("stage %d of %d: %s", STAGES.index(stage) + 1, len(STAGES), stage)
    how = {"check": validate_batch, "force": stage in params.force, "only_finished": only_finished}
    with interruptible(), open_lake(params.home_path, params.lake) as lake:
        lake.flow_run = flow_run.id
        try:
            yield StageContext(lake, log.info, how)
        except BatchRejected as refused:
            artifacts.publish_refusal(stage, refused)
            artifacts.publish_contracts(lake)
            raise


def validate_batch(staged: Staged) -> list[Verdict]:
    """The contract gate, loaded when the first batch is to be judged: Great Expectations takes seconds to
    import.
    """
    from contracts.gate import validate_batch

    return validate_batch(staged)
