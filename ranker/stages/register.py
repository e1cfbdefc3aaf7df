"""Register: a model version in MLflow that says what it was made from, and what the promotion rule says of
it.

The only module that imports mlflow (late: it takes seconds). A version points at the model's folder
and copies nothing. Every new version becomes `challenger`; `champion` moves by `promotion.decide` alone, and
back by `rollback`. A version remembers the champion that it replaced, so rolling back needs no
history of aliases.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote

import polars as pl
from filelock import FileLock

from ranker.config import CandidateParams, EvaluateParams, RegisterParams
from ranker.engines import base_of
from ranker.errors import (
    BadConfig,
    BadModel,
    BadRegistry,
    NoAccess,
    RankerError,
    StageMissing,
    Unreachable,
    by_disk,
)
from ranker.lake import Lake, lineage
from ranker.lake.candidate_sets import split_shares
from ranker.lake.lineage import Run
from ranker.metrics.significance import Interval, detectable
from ranker.refs import Champion, Check, Ref, digest, flat
from ranker.stages import promotion
from ranker.stages.promotion import Decision, Gain, Result, Seeds, Traffic
from ranker.stages.run import run_cached
from ranker.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
P = ParamSpec("P")
Where = TypeVar("Where", Path, Lake)
log = logging.getLogger("ranker.stages.register")

_BATCH = 100
"""MLflow takes at most so many parameters, metrics or tags in one call."""
_TESTS = {
    "name": pl.String,
    "version": pl.String,
    "task": pl.String,
    "against": pl.String,
    "queries": pl.Int32,
    "planned": pl.Int32,
    "query_ids": pl.List(pl.String),
    "look": pl.Int32,
    "level": pl.Float64,
    **dict.fromkeys(("difference", "lower", "upper", "spread", "p", "p_holm", "detectable"), pl.Float64),
    **dict.fromkeys(("least", "seed_spread"), pl.Float64),
    "seeds": pl.Int32,
}
_ADDRESS = re.compile(r"models:/(?P<name>[^@/'\"]+)(@(?P<alias>[\w.-]+)|/(?P<version>\d+))")
_PASSING = re.compile(
    r"(?i)database is locked|timed? ?out|connection|max retries|status code 5\d\d|HTTP 5\d\d"
)
"""What a registry says that may answer later."""
LONGEST_REASON = 500
HTTP_TRIES = 3
"""A registry behind HTTP is asked again so often: MLflow's own seven take four minutes."""


MOST_NAMES = 1_000
"""Registered names that are looked through; MLflow gives no more at once."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation, and in which of its ways of ranking the policy will serve: the first of
    `evaluate.strategies` and of `evaluate.thinking`.
    """

    key: str
    sets: str
    """Key of the candidate sets."""
    strategy: str
    thinking: bool
    most: int
    """Test queries per task at most."""
    gates_left: int = 0
    """Parts of the test side that no verdict has used."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What a verdict rests on."""

    evaluation: Evaluation
    results: tuple[Result, ...]
    gains: tuple[Gain, ...]
    """Against the champion; empty where there is none, or not all planned queries were compared."""
    queries: Mapping[str, list[str]]
    """Task → the test queries that were ranked."""
    look: int
    seeds: tuple[Seeds, ...]
    """How far trainings of the champion's recipe lie apart; empty where none differ by their seeds alone."""
    met: bool
    """Whether the evaluation ranked with the present champion, too; or there is none to be compared with."""


def _explained(
    work: Callable[Concatenate[Where, RegisterParams, P], T],
) -> Callable[Concatenate[Where, RegisterParams, P], T]:
    """`work`, whose errors of MLflow and its database are named."""

    @wraps(work)
    def call(where: Where, params: RegisterParams, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(where, params, *args, **kwargs)
        except RankerError:
            raise
        except Exception as error:
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError

            if not isinstance(error, MlflowException | SQLAlchemyError):
                raise
            home = where.home if isinstance(where, Lake) else where
            raise _fault(error, params.tracking_uri or str(home / "mlflow.db")) from error

    return call


def _fault(error: Exception, where: str) -> RankerError:
    """What is wrong with the registry, by the only thing that its libraries agree in: the text."""
    text = str(error)
    seen = f"{where}: {(text.splitlines() or [type(error).__name__])[0][:LONGEST_REASON]}"
    if "unable to open database file" in text:
        return NoAccess(
            "the registry's file, and the folder that it lies in, must be open to this user",
            seen=seen,
            remedy="change their permissions, or take another data folder with --home or $RANKER_HOME",
        )
    if known := by_disk(error):
        return known
    if _PASSING.search(text):
        return Unreachable(
            "the registry of model versions must answer",
            seen=seen,
            remedy="see that its server runs and nothing holds its database, then try again",
        )
    return BadRegistry(
        "the registry of model versions must be whole",
        seen=seen,
        remedy=(
            "put back a copy of it. Without one move it away and `ranker retrain --force register`: that"
            " registers the newest model anew; `model_versions` in the lake still says which there were"
        ),
    )


def run(
    lake: Lake,
    params: RegisterParams,
    *,
    trained: Ref,
    scores: Ref,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
) -> Ref:
    """Register the policy of `trained` as judged by `scores`; `details` holds name, version, alias and
    verdict, and whether that is `outdated`: the champion is another than `scores` compares with, or became
    another while this was decided. Such a verdict does not count as done.
    """

    def registered(force: bool) -> Ref:
        return run_cached(
            lake,
            "register",
            parameters=params,
            inputs=[trained, scores],
            roots=[__name__],
            check=check,
            force=force,
            only_finished=only_finished,
            produce=lambda key: _produce(lake, params, trained, scores, key),
        )

    ref = registered(force)
    if ref.skipped and ref.details.get("outdated") and not only_finished:
        log.info("register %s: the champion changed while this was decided: decided again", ref.key)
        return registered(force=True)
    return ref


def _produce(
    lake: Lake, params: RegisterParams, trained: Ref, scores: Ref, key: str
) -> tuple[dict[str, pl.DataFrame], JsonObject]:
    """One verdict at a time on this machine; the alias moves only while the champion is still the one that
    was compared with.
    """
    with lake.claim("register", f"champion-{digest(params.name)}"):
        return _decided(lake, params, trained, scores, key)


@_explained
def _decided(
    lake: Lake, params: RegisterParams, trained: Ref, scores: Ref, key: str
) -> tuple[dict[str, pl.DataFrame], JsonObject]:
    client = _client(lake.home, params)
    incumbent = champion(lake.home, params, besides=trained.key)
    evaluation = _evaluation(lake, scores.key)
    tested = _tested(lake, params, evaluation, incumbent)
    against = incumbent.version if incumbent else None
    decision = promotion.decide(
        tested.results,
        tested.gains,
        params,
        against,
        tested.look,
        tested.seeds,
        evaluation.gates_left,
        traffic_of(lake, f"{trained.key}/rl") if params.max_traffic_loss is not None else (),
    )
    version = _version(client, params.name, key) or _create(client, lake, params, trained, evaluation, key)
    outdated = params.promote and not tested.met
    if decision.promote and _moved(lake.home, params, trained.key, incumbent):
        decision = Decision(False, ("the champion changed while this was decided: evaluate again",))
        outdated = True
    alias = _settle(client, params.name, version, decision, incumbent)
    facts = {
        "name": params.name,
        "version": str(version.version),
        "run_id": version.run_id,
        "alias": alias,
        "verdict": decision.verdict,
    }
    row = {**facts, "train_key": trained.key, "evaluate_key": scores.key, "registered_at": datetime.now(UTC)}
    return {
        "model_versions": pl.DataFrame([row]),
        "promotion_tests": _rows(tested, params, str(version.version), against),
    }, {
        **facts,
        "promoted": decision.promote,
        "outdated": outdated,
        "against": against,
        "strategy": evaluation.strategy,
        "thinking": evaluation.thinking,
    }


def _evaluation(lake: Lake, key: str) -> Evaluation:
    runs = {run.key: run for run in lineage.of(lake, key)}
    own = runs[key]
    sets = next(read for read in own.inputs if runs[read].stage == "candidates")
    drawn = split_shares(runs[sets].details)
    asked = EvaluateParams.model_validate(
        {name: own.parameters[name] for name in EvaluateParams.model_fields if name in own.parameters}
    )
    return Evaluation(
        key,
        sets=sets,
        strategy=own.details.get("strategy", asked.strategies[0]),  # none of a lake of version 0.2.0
        thinking=asked.thinking[0],
        most=asked.max_queries,
        gates_left=drawn["gates"] - drawn["gate"],
    )


def _tested(lake: Lake, params: RegisterParams, evaluation: Evaluation, incumbent: Champion | None) -> Tested:
    """Read what the policy got as it will be served, and test it against the champion.

    A champion that is another model than the one which was evaluated was not compared with.
    """
    way = {"batch_id": evaluation.key, "strategy": evaluation.strategy, "thinking": evaluation.thinking}
    served = lake.named("register/served", {**way, "sets": evaluation.sets})
    own = served.filter(arm="rl")
    other = served.filter(arm="champion", model=f"{incumbent.train_key}/rl" if incumbent else "")
    pairs = own.join(other, on=["task", "query_id"], suffix="_other").drop_nulls(["rr", "rr_other"])
    planned = lake.named("register/planned", {"sets": evaluation.sets, "most": evaluation.most})
    floor = {
        task: Interval(*values)
        for task, *values in lake.named("register/floor", {**way, "against": params.floor}).iter_rows()
    }
    results = tuple(
        _result(task, count, own.filter(task=task), pairs.filter(task=task), floor.get(task))
        for task, count in planned.iter_rows()
    )
    comparable = incumbent is not None and all(0 < result.planned == result.paired for result in results)
    queries = {result.task: own.filter(task=result.task)["query_id"].to_list() for result in results}
    return Tested(
        evaluation,
        results,
        tuple(_gains(pairs, queries)) if comparable and params.promote and results else (),
        queries,
        _look(lake, params, evaluation.key, queries),
        seeds_of(lake, incumbent.train_key, evaluation.strategy, evaluation.thinking) if incumbent else (),
        met=incumbent is None or own.is_empty() or not other.is_empty(),
    )


def seeds_of(lake: Lake, train_key: str, strategy: str, thinking: bool | None) -> tuple[Seeds, ...]:
    """How far apart trainings with the parameters of `train_key`, other seeds aside, rank the same test
    queries: by task, and the mean over tasks where there are several. Empty where no two can be compared.
    """
    asked = {"train_key": train_key, "strategy": strategy, "thinking": thinking, "all": promotion.ALL}
    return tuple(Seeds(*row) for row in lake.named("register/seeds", asked).iter_rows())


def _result(
    task: str, planned: int, own: pl.DataFrame, pairs: pl.DataFrame, floor: Interval | None
) -> Result:
    return Result(
        task,
        planned,
        queries=own["rr"].count(),
        rr=_mean(own["rr"]),
        malformed=_mean(own["malformed"]),
        calls=_mean(own["calls"]),
        tokens=_mean(own["tokens"]),
        floor=floor,
        paired=pairs.height,
        champion_calls=_mean(pairs["calls_other"]),
        champion_tokens=_mean(pairs["tokens_other"]),
    )


def _mean(values: pl.Series) -> float | None:
    return cast("float | None", values.mean())


def _gains(pairs: pl.DataFrame, tasks: Iterable[str]) -> list[Gain]:
    parts = {task: pairs.filter(task=task) for task in tasks}
    (found,) = promotion.gains(
        {task: (part["rr"] - part["rr_other"]).to_numpy()[:, None] for task, part in parts.items()},
        {task: part["group_id"].to_list() for task, part in parts.items()},
    )
    return found


def _look(lake: Lake, params: RegisterParams, evaluation: str, queries: Mapping[str, list[str]]) -> int:
    """Which verdict this is on these queries: new data brings some that no verdict has used, so their mean
    counts.
    """
    asked = [f"{task}|{query}" for task, found in queries.items() for query in found]
    uses = lake.named("register/uses", {"queries": asked, "name": params.name, "batch_id": evaluation}).item()
    return 1 + math.ceil(uses)


def gate(lake: Lake, params: RegisterParams, drawn: CandidateParams) -> int:
    """Which part of the test side is to test next, from 1: the first whose looks are not used up, or the last
    of all.
    """
    asked = {
        "name": params.name,
        "seed": str(drawn.seed),
        "test_share": drawn.test_share,
        "gates": drawn.gates,
    }
    looks = dict(lake.named("register/gates", asked).iter_rows())
    fresh = (one for one in range(drawn.gate, drawn.gates) if looks.get(one, 0) < params.looks)
    return next(fresh, drawn.gates)


def _rows(tested: Tested, params: RegisterParams, version: str, against: str | None) -> pl.DataFrame:
    """A row a test for `promotion_tests`; without tests the distance from the floor."""
    shared = {
        "name": params.name,
        "version": version,
        "against": against or params.floor,
        "look": tested.look,
        "level": promotion.level(params),
    }
    by_task = {gain.task: gain for gain in tested.gains}
    rows = [
        {
            **shared,
            "task": result.task,
            "queries": result.queries if against is None else result.paired,
            "planned": result.planned,
            "query_ids": tested.queries[result.task],
            **_interval(result.floor if against is None else None),
            **_test(by_task.pop(result.task, None), params, tested),
        }
        for result in tested.results
    ]
    for task, gain in by_task.items():
        count = gain.difference.queries
        rows.append(
            {
                **shared,
                "task": task,
                "queries": count,
                "planned": count,
                **_test(gain, params, tested),
            }
        )
    return pl.DataFrame(rows, schema=_TESTS)


def _interval(found: Interval | None) -> JsonObject:
    return {"difference": found.value, "lower": found.lower, "upper": found.upper} if found else {}


def _test(gain: Gain | None, params: RegisterParams, tested: Tested) -> JsonObject:
    if gain is None:
        return {}
    error = gain.spread / math.sqrt(gain.difference.queries)
    least = promotion.least_gain(gain.task, params, tested.seeds, len(tested.gains))
    seeds = next((one for one in tested.seeds if one.task == gain.task), None)
    return {
        **_interval(gain.difference),
        "spread": gain.spread,
        "p": gain.p,
        "p_holm": gain.p_holm,
        "detectable": detectable(error, promotion.level(params) / len(tested.gains), least),
        "least": least,
        "seeds": seeds.seeds if seeds else 0,
        "seed_spread": seeds.spread if seeds else None,
    }


def plan(
    lake: Lake,
    params: RegisterParams,
    evaluate: EvaluateParams,
    sets: str,
    incumbent: Champion | None = None,
) -> list[str]:
    """What the promotion rule will be able to see on the test queries of the candidate sets `sets`, against
    the champion `incumbent`: a sentence a task, before anything is evaluated.
    """
    planned = dict(lake.named("register/planned", {"sets": sets, "most": evaluate.max_queries}).iter_rows())
    spreads = dict(lake.named("register/spreads", {"name": params.name}).iter_rows())
    seeds = seeds_of(lake, incumbent.train_key, incumbent.strategy, incumbent.thinking) if incumbent else ()
    return list(promotion.plan(planned, spreads, params, seeds))


def _moved(home: Path, params: RegisterParams, trained: str, incumbent: Champion | None) -> bool:
    """Whether the champion is another than it was: a roll-back, or a verdict on another machine."""
    return champion(home, params, besides=trained) != incumbent


def _settle(
    client: MlflowClient, name: str, version: ModelVersion, decision: Decision, incumbent: Champion | None
) -> str:
    client.set_model_version_tag(name, version.version, "verdict", decision.verdict)
    client.set_registered_model_alias(name, "challenger", version.version)
    if not decision.promote:
        return "challenger"
    client.set_model_version_tag(name, version.version, "replaces", incumbent.version if incumbent else "")
    client.set_registered_model_alias(name, "champion", version.version)
    return "champion"


def _create(
    client: MlflowClient, lake: Lake, params: RegisterParams, trained: Ref, evaluation: Evaluation, key: str
) -> ModelVersion:
    """A new version. Killed anywhere in here, a repeat finds the run or the version again by its register
    key.
    """
    runs = lineage.of(lake, evaluation.key)
    experiment = _experiment(client, lake.home, params.name)
    found = client.search_runs([experiment], f"tags.register_key = '{key}'", max_results=1)
    found = found or _going_on(client, experiment, trained.key)
    run_id = (
        found[0] if found else client.create_run(experiment, run_name=f"train {trained.key}")
    ).info.run_id
    client.set_tag(run_id, "register_key", key)
    _log(
        client,
        run_id,
        runs,
        lake.rows("select * from evaluations where batch_id = $key", {"key": evaluation.key}),
        lake.rows("select * from comparisons where batch_id = $key", {"key": evaluation.key}),
    )
    client.set_terminated(run_id)
    folder = f"{trained.details['model']}/rl"
    tags = {
        "register_key": key,
        "train_key": trained.key,
        "evaluate_key": evaluation.key,
        "model": folder,
        "strategy": evaluation.strategy,
        "thinking": str(evaluation.thinking).lower(),
        **_provenance(runs),
    }
    if base := base_of(lake.home / folder):
        tags["adapter_of"] = os.path.relpath(base, lake.home)
    return client.create_model_version(
        params.name, source=_source(lake.home, folder, params.tracking_uri), run_id=run_id, tags=tags
    )


def _source(home: Path, folder: str, tracking_uri: str) -> str:
    """Where a version's model lies, for people: what is loaded is named by the version's tag `model`. An
    MLflow server takes no path of its clients' that is outside a run's artifacts.
    """
    served = tracking_uri.startswith(("http://", "https://"))
    return f"r1-ranker:///{folder}" if served else str((home / folder).resolve())


@_explained
def follow(home: Path, params: RegisterParams, train_key: str, points: pl.DataFrame) -> None:
    """Log points of a training's curves (phase, step, name, value) while it goes on, in the run that its
    version will be of.
    """
    from mlflow.entities import Metric

    client, now = _client(home, params), int(datetime.now(UTC).timestamp() * 1000)
    experiment = _experiment(client, home, params.name)
    found = _going_on(client, experiment, train_key)
    if not found:
        tags = {"train_key": train_key}
        found = [client.create_run(experiment, run_name=f"train {train_key}", tags=tags)]
    logged = [
        Metric(_metric_name("train", phase, name), value, now, step)
        for phase, step, name, value in points.select("phase", "step", "name", "value").iter_rows()
    ]
    for part in _parts(logged):
        client.log_batch(found[0].info.run_id, metrics=part)


def _going_on(client: MlflowClient, experiment: str, train_key: str) -> list[MlflowRun]:
    """The run of a training that no version was made of yet."""
    asked = f"tags.train_key = '{train_key}' and attributes.status = 'RUNNING'"
    return list(client.search_runs([experiment], asked, max_results=1))


def _log(
    client: MlflowClient, run_id: str, runs: Sequence[Run], means: pl.DataFrame, differences: pl.DataFrame
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(datetime.now(UTC).timestamp() * 1000)
    logged = [Param(name, str(value)[:6000]) for name, value in _parameters(runs)]
    metrics = [Metric(name, value, now, 0) for name, value in (*_metrics(means), *_paired(differences))]
    tags = [RunTag(name, value) for name, value in _provenance(runs).items()]
    for part in _parts(logged):
        client.log_batch(run_id, params=part)
    for part in _parts(metrics):
        client.log_batch(run_id, metrics=part)
    client.log_batch(run_id, tags=tags)


def _parts(values: list[T]) -> Iterator[list[T]]:
    yield from (values[i : i + _BATCH] for i in range(0, len(values), _BATCH))


def _parameters(runs: Sequence[Run]) -> Iterator[tuple[str, object]]:
    for run in runs:
        yield from flat(run.stage, run.parameters)


def _metrics(means: pl.DataFrame) -> Iterator[tuple[str, float]]:
    for row in means.iter_rows(named=True):
        how = (
            "baseline"
            if row["strategy"] == "baseline"
            else f"{row['strategy']}-{'think' if row['thinking'] else 'no-think'}"
        )
        yield _metric_name(row["task"], row["arm"], how, row["metric"]), row["value"]


def _paired(differences: pl.DataFrame) -> Iterator[tuple[str, float]]:
    for row in differences.iter_rows(named=True):
        how = f"{row['strategy']}-{'think' if row['thinking'] else 'no-think'}"
        yield (
            _metric_name(row["task"], f"{row['arm']}-minus-{row['against']}", how, row["metric"]),
            row["difference"],
        )


def _metric_name(*parts: str) -> str:
    return "/".join(parts).replace("@", "_at_")


def _provenance(runs: Sequence[Run]) -> dict[str, str]:
    """Keys, snapshots and code of every stage, as tags."""
    return {
        f"{run.stage}.{name}": str(value)
        for run in runs
        for name, value in (("key", run.key), ("snapshot", run.read_snapshot), ("code", run.code))
    }


@_explained
def champion(home: Path, params: RegisterParams, besides: str = "") -> Champion | None:
    """The present champion, or None.

    Args:
        besides: a train key. Where that very policy is the champion, the one that it replaced: what it
            was and will again be compared with, so that a repeated run finds its evaluation done.
    """
    if not params.tracking_uri and not (home / "mlflow.db").exists():
        return None
    client = _client(home, params)
    version = _aliased(client, params.name, "champion")
    seen: set[str] = set()  # versions that a person promoted may have replaced each other
    while version is not None and version.tags.get("train_key") == besides:
        seen.add(str(version.version))
        version = _replaced(client, version)
        if version is not None and str(version.version) in seen:
            return None
    return _as_champion(version) if version is not None else None


def present_champion(home: Path, params: RegisterParams, purpose: str) -> Champion:
    """The present champion, for `purpose`.

    Raises:
        StageMissing: there is none.
    """
    found = champion(home, params)
    if found is None:
        raise StageMissing(
            f"{purpose} needs a champion",
            seen=f"no version of {params.name!r} is champion",
            remedy="run `ranker retrain` first; where the rule has refused all, `ranker promote VERSION"
            " --anyway`",
        )
    return found


def warm_start(home: Path, params: RegisterParams, key: Callable[[Champion | None], str]) -> Champion | None:
    """The champion that a training goes on from; None where there is none yet.

    Args:
        key: of the training, as it would be from a champion. Where the present champion is the outcome of
            this very training, the one that it replaced is meant: a repeated run finds its work done.
    """
    present = champion(home, params)
    if present is None:
        return None
    former = champion(home, params, besides=present.train_key)
    return former if key(former) == present.train_key else present


def require_champion(home: Path, params: RegisterParams) -> None:
    """Refuse a champion whose folder is gone before hours are spent on a model that is compared with it.

    Raises:
        BadModel: there is no config.json in it.
    """
    found = champion(home, params)
    if found is not None and not (home / found.model / "config.json").is_file():
        raise BadModel(
            "the champion's folder must be there: new models are compared with it",
            seen=f"{params.name} version {found.version}: {home / found.model} holds no config.json",
            remedy="put the folder back, or `ranker rollback` makes the version before it champion",
        )


@_explained
def pinned(home: Path, params: RegisterParams, newest: int) -> dict[str, str]:
    """Train key → why its model has to stay: of every registered name the champion, the champions that it
    can be rolled back to, the challenger, and the `newest` versions.
    """
    if not params.tracking_uri and not (home / "mlflow.db").exists():
        return {}
    client, found = _client(home, params), dict[str, str]()
    for model in client.search_registered_models(max_results=MOST_NAMES):
        name = cast("str", model.name)  # pyright: ignore[reportUnknownMemberType]  # untyped by mlflow
        for version, why in _kept(client, name, newest):
            if key := version.tags.get("train_key"):
                found.setdefault(key, f"{name} version {version.version}: {why}")
    return found


def _kept(client: MlflowClient, name: str, newest: int) -> Iterator[tuple[ModelVersion, str]]:
    version, why, seen = _aliased(client, name, "champion"), "champion", set[str]()
    while version is not None and str(version.version) not in seen:
        seen.add(str(version.version))
        yield version, why
        version, why = _replaced(client, version), "the champion before"
    version = _aliased(client, name, "challenger")
    if version is not None:
        yield version, "challenger"
    listed = client.search_model_versions(f"name = '{name}'", newest, order_by=["version_number DESC"])
    for version in listed[:newest]:
        yield version, f"among the {newest} newest"


@_explained
def latest(home: Path, params: RegisterParams) -> Champion | None:
    """The champion, else the challenger, else None: what `ranker rank` serves by default."""
    found = champion(home, params)
    if found is not None or (not params.tracking_uri and not (home / "mlflow.db").exists()):
        return found
    version = _aliased(_client(home, params), params.name, "challenger")
    return _as_champion(version) if version is not None else None


@_explained
def addressed(home: Path, params: RegisterParams, address: str) -> Champion | None:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` means now; None where there is none
    yet.

    `model` is absolute for a version that another tool has registered (its source).

    Raises:
        BadConfig: it is no such address.
    """
    asked = parsed(address)
    if not params.tracking_uri and not (home / "mlflow.db").exists():
        return None
    client = _client(home, params)
    if asked["version"]:
        found = client.search_model_versions(
            f"name = '{asked['name']}' and version_number = {asked['version']}"
        )
        version = found[0] if found else None
    else:
        version = _aliased(client, asked["name"], asked["alias"])
    if version is None:
        return None
    return _as_champion(version)


def parsed(address: str) -> re.Match[str]:
    """The address of a registered model in its parts: name, and alias or version.

    Raises:
        BadConfig: it is no such address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadConfig(
            "a registered model is models:/NAME@ALIAS or models:/NAME/VERSION",
            seen=repr(address),
            remedy="for example models:/r1-ranker@champion",
        )
    return found


@_explained
def rollback(home: Path, params: RegisterParams) -> tuple[Champion, Champion]:
    """Give the alias `champion` back to the version that the present one replaced.

    Returns:
        (the version that was champion, the version that is champion now).

    Raises:
        StageMissing: there is no champion, or it is the first one.
    """
    present = present_champion(home, params, "rolling back")
    client, former = _client(home, params), before(home, params, present)
    if former is None:
        raise StageMissing(
            "rolling back needs a champion before the present one",
            seen=f"version {present.version} is the first champion",
            remedy="retrain; or delete the alias in MLflow to have no champion",
        )
    client.set_registered_model_alias(params.name, "champion", former.version)
    client.set_model_version_tag(
        params.name, present.version, "rolled_back_at", datetime.now(UTC).isoformat(timespec="seconds")
    )
    return present, former


@_explained
def before(home: Path, params: RegisterParams, present: Champion) -> Champion | None:
    """The champion that the version `present` replaced; None where it was the first."""
    client = _client(home, params)
    former = _replaced(client, client.get_model_version(params.name, present.version))
    return None if former is None else _as_champion(former)


@_explained
def promote(
    home: Path, params: RegisterParams, version: str, *, anyway: bool, smoke: Callable[[Champion], object]
) -> tuple[Champion | None, Champion]:
    """Make a version champion by hand: one that the rule has promoted over the present champion, or any
    `anyway`.

    Args:
        smoke: ranks something with the version as it will serve, and raises where it cannot.

    Returns:
        (the version that was champion, the version that is champion now).

    Raises:
        StageMissing: there is no such version.
        BadConfig: the rule did not promote it over the present champion.
        Whatever `smoke` raises.
    """
    chosen = addressed(home, params, f"models:/{params.name}/{version}")
    if chosen is None:
        raise StageMissing(
            "only a registered version can be promoted",
            seen=f"no version {version} of {params.name!r}",
            remedy='see `ranker query "select version, verdict from model_versions"`',
        )
    client = _client(home, params)
    present = champion(home, params)
    tags = client.get_model_version(params.name, version).tags
    if not anyway and tags.get("replaces") != (present.version if present else ""):
        raise BadConfig(
            "the promotion rule must have promoted the version over the present champion"
            f" ({present.version if present else 'none'})",
            seen=tags.get("verdict", "no verdict"),
            remedy="evaluate it beside the champion (`ranker retrain`), or insist: --anyway",
        )
    smoke(chosen)
    if champion(home, params) != present:
        raise BadConfig(
            "the champion must stay the same while another is promoted",
            seen="it changed",
            remedy="look at the new one, and promote again where it is still to go",
        )
    if present is not None and present.version == chosen.version:
        return present, chosen
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(params.name, version, "replaces", present.version if present else "")
    client.set_model_version_tag(params.name, version, "promoted_by_hand_at", now)
    client.set_registered_model_alias(params.name, "champion", version)
    return present, chosen


def traffic_of(lake: Lake, model: str) -> list[Traffic]:
    """The latest estimate of a model (as in episodes.model) on each task's logged requests, doubly robust."""
    rows = lake.named("register/traffic", {"model": model}).iter_rows(named=True)
    return [
        Traffic(
            row["task"],
            Interval(row["gain"], row["gain_lower"], row["gain_upper"], row["requests"]),
            row["effective"],
        )
        for row in rows
    ]


def compare(lake: Lake, params: RegisterParams, one: str, other: str) -> list[Gain]:
    """Two versions on the test queries and pools that both have ranked, each as it serves: RR of `one` minus
    RR of `other`.

    Raises:
        StageMissing: there is no such version, or there are no such queries.
    """
    versions = [addressed(lake.home, params, f"models:/{params.name}/{version}") for version in (one, other)]
    asked = {
        f"{name}_{place}": value
        for place, found in enumerate(versions, 1)
        if found is not None
        for name, value in (
            ("model", f"{found.train_key}/rl"),
            ("strategy", found.strategy),
            ("thinking", found.thinking),
        )
    }
    pairs = lake.named("register/pairs", asked) if all(versions) else pl.DataFrame()
    if pairs.is_empty():
        missing = [version for version, found in zip((one, other), versions, strict=True) if found is None]
        raise StageMissing(
            "two versions are compared on test queries that both have ranked",
            seen=f"no version {missing[0]} of {params.name!r}" if missing else "no such query in the lake",
            remedy='see `ranker query "select version, evaluate_key from model_versions"`',
        )
    return _gains(pairs, pairs["task"].unique().sort())


def _as_champion(version: ModelVersion) -> Champion:
    return Champion.tagged(version.version, version.tags, version.source)


def _aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    models = client.search_registered_models(f"name = '{name}'")
    aliases = cast("dict[str, str]", getattr(models[0], "aliases", {})) if models else {}  # untyped by mlflow
    version = aliases.get(alias)
    return client.get_model_version(name, str(version)) if version else None


def _replaced(client: MlflowClient, version: ModelVersion) -> ModelVersion | None:
    before = version.tags.get("replaces", "")
    return client.get_model_version(version.name, before) if before else None


def _version(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """The version that an earlier, killed attempt at this very stage run has left."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(
            name, description="Ranking policies; see the tags of a version for what it was made from."
        )
    return next(
        (v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get("register_key") == key),
        None,
    )


def _experiment(client: MlflowClient, home: Path, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return (
        found.experiment_id
        if found
        else client.create_experiment(name, artifact_location=(home / "mlartifacts").resolve().as_uri())
    )


def _client(home: Path, params: RegisterParams) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(HTTP_TRIES))
    home.mkdir(parents=True, exist_ok=True)
    if not params.tracking_uri:
        _require_database(home / "mlflow.db")
    from mlflow import MlflowClient

    for chatty in ("alembic", "mlflow"):  # after the import, which sets their levels
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not params.tracking_uri:
        _make_database(home / "mlflow.db")
    uri = params.tracking_uri or _address(home / "mlflow.db")
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database(path: Path) -> None:
    """Whole or not at all, by one process: MLflow completes no database whose making a kill or a full disk
    has ended, and two that make one disturb each other.
    """
    if _made(path):
        return
    from mlflow import MlflowClient

    with FileLock(f"{path}.lock", fallback_to_soft=False):
        if _made(path):
            return
        for left in path.parent.glob(f"{path.name}.*.part"):
            left.unlink()
        part = path.with_name(f"{path.name}.{time.time_ns()}.part")  # MLflow keeps connections, by the name
        uri = _address(part)
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_registered_models(max_results=1)
        part.replace(path)


def _made(database: Path) -> bool:
    return database.is_file() and database.stat().st_size > 0


def _require_database(path: Path) -> None:
    """MLflow would ask an SQLite file that cannot be opened again for two minutes."""
    try:
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise _fault(error, str(path)) from error


def _address(database: Path) -> str:
    """Of an SQLite file, as SQLAlchemy takes it: what stands there is the path as it is, but a ? ends it, so
    that such a path goes by SQLite's own form of an address. Slashes are written as others are there: MLflow
    makes the folders of what looks like a path.
    """
    if "?" not in str(database):
        return f"sqlite:///{database}"
    return f"sqlite:///file:{quote(str(database), safe='')}?uri=true"
