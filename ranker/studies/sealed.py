"""The sealed queries: what no stage draws, read a few times a year, so that nothing was ever chosen by them.

`candidates.audit_share` seals users (or query groups): no candidate set is made of them, so no training,
evaluation, report or view can hold them. Here their pools are drawn, in memory, and the present champion and
the one before it rank them as they serve. Only means are kept, a row a task, and each reading counts: whoever
looks often and acts on it makes one more test set of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from ranker import config
from ranker.config import CandidateParams, EvaluateParams, RegisterParams, former
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake, lineage
from ranker.lake.candidate_sets import split_shares
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.refs import Champion, Check, digest
from ranker.stages import candidates, evaluate, registry
from ranker.stages.run import keep_measured
from ranker.studies.seeds import as_served, made_from
from ranker.types import CandidateSet, JsonObject

STAGE = "audit"
YEAR = timedelta(days=365)
_READINGS = {
    **dict.fromkeys(("name", "version", "task", "against"), pl.String),
    "queries": pl.Int32,
    **dict.fromkeys(
        ("rr", "lower", "upper", "difference", "difference_lower", "difference_upper"), pl.Float64
    ),
    "read_at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the present champion got on the sealed queries of a task."""

    task: str
    rr: Interval
    difference: Interval | None
    """To the champion before it, paired; None where there is none to compare with."""


@dataclass(frozen=True, slots=True)
class Read:
    """One reading of the sealed queries."""

    champion: Champion
    against: Champion | None
    readings: tuple[Reading, ...]
    number: int
    """Which reading within a year it was, from 1."""
    notes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the champion is on no task worse than the one before it, beyond chance."""
        return all(one.difference is None or one.difference.upper >= 0 for one in self.readings)


def read(
    lake: Lake,
    params: RegisterParams,
    *,
    check: Check,
    anyway: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Read:
    """Rank the sealed queries by the champion and the one before it, and store what came of it.

    Raises:
        BadConfig: they were read as often as may be within a year, and it is not to be `anyway`.
        StageMissing: there is no champion, or none of its queries are sealed.
    """
    with lake.claim(STAGE, digest(params.name)):
        number = 1 + _counted(lake, params.name)
        if number > params.audit_readings and not anyway:
            raise BadConfig(
                f"the sealed queries are read {params.audit_readings} times a year at most"
                " (register.audit_readings)",
                seen=f"{number - 1} readings of {params.name!r} within a year",
                remedy="wait, or insist: --anyway; what is chosen by them is not confirmed by them",
            )
        return _read(lake, params, number, check, log)


def _counted(lake: Lake, name: str) -> int:
    return lake.named("audit/readings", {"name": name, "since": datetime.now(UTC) - YEAR}).item()


def _read(lake: Lake, params: RegisterParams, number: int, check: Check, log: Callable[[str], None]) -> Read:
    champion = registry.present_champion(lake.home, params, "reading the sealed queries")
    made = made_from(lake, params, champion)
    against, notes = _comparable(lake, params, champion, made["candidates"])
    models = [champion, *([against[0]] if against else [])]
    batches = [made["candidates"].key, *([against[1].key] if against else [])]
    asked = _fresh(lake, made["candidates"], batches)
    log(f"{len(asked)} sealed queries, {len(models)} versions")
    scores = [
        _ranked(lake, model, as_served(made["evaluate"].parameters, model), asked, log) for model in models
    ]
    how = as_served(made["evaluate"].parameters, champion)
    found = Read(
        champion,
        against[0] if against else None,
        tuple(_readings(asked, scores, how)),
        number,
        tuple(notes),
    )
    store(lake, params, found, [made["evaluate"].key], check)
    return found


def _comparable(
    lake: Lake, params: RegisterParams, champion: Champion, own: lineage.Run
) -> tuple[tuple[Champion, lineage.Run] | None, list[str]]:
    """The champion before with the candidates that it was trained on, where the same queries were sealed from
    it; else why not.
    """
    former_one = registry.before(lake.home, params, champion)
    if former_one is None:
        return None, ["there is no champion before it"]
    other = made_from(lake, params, former_one)["candidates"]
    one, another = (split_shares(run.details) | {"gate": 1} for run in (own, other))
    if one != another:
        return None, [
            f"version {former_one.version} is left out: other queries, or none, were sealed from it"
        ]
    return (former_one, other), []


def _fresh(lake: Lake, drawn: lineage.Run, batches: Sequence[str]) -> list[CandidateSet]:
    """The sealed queries, without groups that a model has been made from all the same: new data moves the
    bounds between the sides.
    """
    params = CandidateParams.model_validate(former.recorded("candidates", drawn.parameters["params"]))
    found = [
        one
        for task in drawn.details["tasks"]
        for one in candidates.sealed_sets(lake, drawn.details["source"], config.task(task), params)
    ]
    known = set(lake.named("audit/known_groups", {"batches": list(batches)}).iter_rows())
    fresh = [one for one in found if (one.task, one.group_id) not in known]
    if not fresh:
        raise StageMissing(
            "some users or query groups must be sealed",
            seen=(
                f"audit_share {params.audit_share:g}, {len(found)} sealed queries, none unknown to the models"
            ),
            remedy="set candidates.audit_share (0.05, say) and retrain: it seals them from the next champion",
        )
    return fresh


def _ranked(
    lake: Lake,
    model: Champion,
    params: EvaluateParams,
    asked: Sequence[CandidateSet],
    log: Callable[[str], None],
) -> Mapping[str, float]:
    """The reciprocal rank of each sealed query (set_id) by a version as it serves. Nothing is kept of it."""
    arm = evaluate.Arm(
        evaluate.TRAINED,
        f"{model.train_key}/rl",
        lake.home / model.model,
        params.strategies,
        params.thinking,
        len(asked),
    )
    by_id = {one.set_id: one for one in asked}
    parts = [tables["episodes"] for tables in evaluate.rankings(arm, asked, by_id, params, log, stage=STAGE)]
    return dict(pl.concat(parts).select("set_id", "rr").iter_rows())


def _readings(
    asked: Sequence[CandidateSet], scores: Sequence[Mapping[str, float]], params: EvaluateParams
) -> Iterator[Reading]:
    for task in sorted({one.task for one in asked}):
        own = [one for one in asked if one.task == task]
        groups = [one.group_id for one in own]
        ranks = [[found[one.set_id] for one in own] for found in scores]

        def mean(values: Sequence[float], groups: Sequence[str] = groups) -> Interval:
            return bootstrap_mean(values, groups, resamples=params.bootstrap, seed=params.seed)

        paired = [one - other for one, other in zip(*ranks, strict=True)] if len(ranks) == 2 else None
        yield Reading(task, mean(ranks[0]), mean(paired) if paired else None)


def store(lake: Lake, params: RegisterParams, found: Read, inputs: Sequence[str], check: Check) -> str:
    """Count a reading, and keep its means; its key."""
    now = datetime.now(UTC)
    shared = {
        "name": params.name,
        "version": found.champion.version,
        "against": found.against.version if found.against else None,
        "read_at": now,
    }
    rows = [shared | _row(one) for one in found.readings]
    return keep_measured(
        lake,
        STAGE,
        {"sealed_readings": pl.DataFrame(rows, schema=_READINGS)},
        parameters={"name": params.name},
        inputs=inputs,
        roots=[__name__],
        details={"version": found.champion.version, "reading": found.number},
        check=check,
    )


def _row(one: Reading) -> JsonObject:
    gap = one.difference
    return {
        "task": one.task,
        "queries": one.rr.queries,
        "rr": one.rr.value,
        "lower": one.rr.lower,
        "upper": one.rr.upper,
        "difference": gap.value if gap else None,
        "difference_lower": gap.lower if gap else None,
        "difference_upper": gap.upper if gap else None,
    }
