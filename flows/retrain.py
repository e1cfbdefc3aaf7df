"""Retrain a ranking policy: six stages in order, each skipped where it is done. Read this first.

`ranker retrain` calls `retrain` in this process; the deployments `retrain/manual` and
`retrain/nightly` (prefect.yaml) run the same function on a work pool.
"""

from __future__ import annotations

from pathlib import Path

from prefect import Task, flow
from prefect.client.schemas.objects import State
from pydantic import BaseModel

from flows import artifacts, stages
from ranker.config import STAGES, RetrainParams, Stage
from ranker.engines import require
from ranker.lake import open_lake
from ranker.refs import Ref
from ranker.reports import report
from ranker.stages import first_stages, register
from ranker.strategies import strategy


class Outcome(BaseModel):
    """What a retraining leaves behind: a Ref per stage, and the report."""

    stages: dict[Stage, Ref]
    report: Path


@flow(name="retrain")
def retrain(params: RetrainParams) -> Outcome:
    """From raw data to a registered ranking policy.

    Finished stages are skipped; name them under `force` to repeat them.
    """
    _known(params)
    if params.evaluate.extra_model:
        require(params.home_path / params.evaluate.extra_model)
    register.require_champion(params.home_path, params.register_)
    first_stages.require(params.home_path, params.evaluate, params.ingest.tasks)
    source = stages.ingest(params).result()
    sets = stages.candidates(params, source).result()
    traces = stages.distill(params, sets).result()
    trained = stages.train(params, sets, traces).result()
    scores = stages.evaluate(params, sets, traces, trained).result()
    version = stages.register(params, trained, scores).result()
    return Outcome(
        stages=dict(zip(STAGES, (source, sets, traces, trained, scores, version), strict=True)),
        report=_report(params, scores),
    )


def _known(params: RetrainParams) -> None:
    """Refuse a strategy that does not exist before hours are spent on what comes first."""
    for name in params.evaluate.strategies:
        strategy(name)


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
    done: dict[Stage, Ref] = {}
    for name in STAGES[: STAGES.index(stage)]:
        done[name] = _task(name)(params, *(done[read] for read in READS[name]), only_finished=True).result()
    return _task(stage)(params, *(done[read] for read in READS[stage])).result()


def _task(stage: Stage) -> Task[..., State[Ref]]:
    return getattr(stages, stage)
