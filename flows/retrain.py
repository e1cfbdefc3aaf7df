"""Retrain a ranking policy: six stages in order, each skipped where it is done. Read this first.

`ranker retrain` calls `retrain` in this process; the deployments `retrain/manual` and
`retrain/nightly` (prefect.yaml) run the same function on a work pool.
"""

from __future__ import annotations

import time
from pathlib import Path

from prefect import Task, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_engine import TaskRunTimeoutError
from pydantic import BaseModel

from flows import artifacts, stages
from ranker.config import STAGES, RetrainParams, Stage
from ranker.engines import require
from ranker.errors import StageTimedOut
from ranker.lake import open_lake
from ranker.refs import Champion, Ref
from ranker.reports import report
from ranker.stages import first_stages, news, register, registry
from ranker.strategies import strategy

REPEATS = 2
"""Times that a decision is made anew because the champion changed; then the refusal stands."""


class Outcome(BaseModel):
    """What a retraining leaves behind: a Ref per stage, and the report; or why it did not train."""

    stages: dict[Stage, Ref]
    report: Path | None
    not_due: str = ""


@flow(name="retrain")
def retrain(params: RetrainParams) -> Outcome:
    """From raw data to a registered ranking policy.

    Finished stages are skipped; name them under `force` to repeat them. With `min_new_data` the run ends
    after the candidates where too little is new since the champion was trained; its state says what was seen.
    """
    _known(params)
    if params.evaluate.extra_model:
        require(params.home_path / params.evaluate.extra_model)
    registry.require_champion(params.home_path, params.register_)
    first_stages.require(params.home_path, params.evaluate, params.ingest.tasks)
    source = stage_result("ingest", params)
    params = at_gate(params)
    sets = stage_result("candidates", params, source)
    if why := _not_due(params, sets):
        get_run_logger().info(why)
        left = Outcome(stages={"ingest": source, "candidates": sets}, report=None, not_due=why)
        # Prefect gives the caller a state's data; pyright does not know it.
        return Completed(message=why, data=left)  # pyright: ignore[reportReturnType]
    traces = stage_result("distill", params, sets)
    trained = stage_result("train", params, sets, traces)
    scores, version = decided(params, sets, traces, trained)
    return Outcome(
        stages=dict(zip(STAGES, (source, sets, traces, trained, scores, version), strict=True)),
        report=_report(params, scores),
    )


def decided(params: RetrainParams, sets: Ref, traces: Ref, trained: Ref) -> tuple[Ref, Ref]:
    """Evaluation and verdict. Where the champion became another in between, both again beside that one: no
    version is judged by a comparison with a champion of yesterday.
    """
    scores, version = _decision(params, sets, traces, trained)
    for repeat in range(1, REPEATS + 1):
        if not version.details.get("outdated"):
            break
        get_run_logger().info(
            "the champion changed while this was decided: evaluated again beside the present one (%d of %d)",
            repeat,
            REPEATS,
        )
        scores, version = _decision(params, sets, traces, trained)
    return scores, version


def _decision(params: RetrainParams, sets: Ref, traces: Ref, trained: Ref) -> tuple[Ref, Ref]:
    scores = stage_result("evaluate", params, sets, traces, trained)
    return scores, stage_result("register", params, trained, scores)


def _known(params: RetrainParams) -> None:
    """Refuse a strategy that does not exist before hours are spent on what comes first."""
    for name in params.evaluate.strategies:
        strategy(name)


def at_gate(params: RetrainParams) -> RetrainParams:
    """The same, with the part of the test side that is to test now (`candidates.gates`)."""
    drawn = params.candidates
    if drawn.gates == drawn.gate:
        return params
    with open_lake(params.home_path, params.lake) as lake:
        gate = register.gate(lake, params.register_, drawn)
    return params.model_copy(update={"candidates": drawn.model_copy(update={"gate": gate})})


def _not_due(params: RetrainParams, sets: Ref) -> str:
    """Why the data is no reason to train: too little of it is new since the champion; empty where it is."""
    if not params.min_new_data or params.force:
        return ""
    champion = registry.champion(params.home_path, params.register_)
    if champion is None:
        return ""
    with open_lake(params.home_path, params.lake, read_only=True) as lake:
        found = news.since(lake, sets, champion)
    if found is None or found.due(params.min_new_data):
        return ""
    return found.sentence(params.min_new_data)


def _report(params: RetrainParams, scores: Ref) -> Path:
    with open_lake(params.home_path, params.lake, read_only=True) as lake:
        path = report.write(lake, scores.key)
    artifacts.publish_report(path, scores.key)
    return path


READS: dict[Stage, tuple[Stage, ...]] = {
    "ingest": (),
    "candidates": ("ingest",),
    "distill": ("candidates",),
    "train": ("candidates", "distill"),
    "evaluate": ("candidates", "distill", "train"),
    "register": ("train", "evaluate"),
}
"""Which stages a stage reads, in the order of its arguments."""


@flow(name="stage", flow_run_name="{stage}")
def run_stage(params: RetrainParams, stage: Stage) -> Ref:
    """One stage alone, upon what earlier runs with the same parameters have left.

    Raises:
        StageMissing: a stage that it reads has not been done.
    """
    _known(params)
    return through(at_gate(params), stage, only_last=True)


def through(params: RetrainParams, last: Stage, only_last: bool = False) -> Ref:
    """All stages up to `last`.

    Args:
        only_last: those before it have to be done.
    """
    done: dict[Stage, Ref] = {}
    for name in STAGES[: STAGES.index(last) + 1]:
        read = (done[one] for one in READS[name])
        done[name] = stage_result(name, params, *read, only_finished=only_last and name != last)
    return done[last]


def stage_result(
    stage: Stage,
    params: RetrainParams,
    *read: Ref | Champion,
    only_finished: bool = False,
    task: Task[..., State[Ref]] | None = None,
) -> Ref:
    """What a stage's task gives, within the time that the stage may take.

    Args:
        task: None is the task of the stage's name.

    Raises:
        StageTimedOut: it took longer.
        Whatever the task raises.
    """
    chosen: Task[..., State[Ref]] = task or getattr(stages, stage)
    allowed, began = params.timeouts.get(stage), time.monotonic()
    try:
        return chosen.with_options(timeout_seconds=allowed)(
            params, *read, only_finished=only_finished
        ).result()
    except (TaskRunTimeoutError, RuntimeError) as error:
        # DuckDB makes a RuntimeError of the alarm that meets a query
        if allowed is None or time.monotonic() - began < allowed:
            raise
        raise StageTimedOut(
            f"{stage} must end within the seconds that timeouts.{stage} gives it",
            seen=f"still at work after {allowed:g} s",
            remedy="raise it; the same command goes on from what is complete",
        ) from error
