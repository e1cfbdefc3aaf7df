"""Register: a model version in MLflow that says what it was made from, and what the promotion rule says of
it. The version becomes `challenger`, and `champion` where the rule promotes it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import polars as pl

from ranker.config import CandidateParams, EvaluateParams, RegisterParams
from ranker.engines import base_of
from ranker.errors import StageMissing
from ranker.lake import Lake, lineage
from ranker.lake.candidate_sets import split_shares
from ranker.metrics.significance import Interval, detectable
from ranker.refs import Champion, Check, Ref, digest
from ranker.stages import promotion, registry, registry_runs
from ranker.stages.promotion import Decision, Gain, Result, Seeds, Traffic
from ranker.stages.run import run_cached
from ranker.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger("ranker.stages.register")

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


@registry.explained
def _decided(
    lake: Lake, params: RegisterParams, trained: Ref, scores: Ref, key: str
) -> tuple[dict[str, pl.DataFrame], JsonObject]:
    client = registry.client_of(lake.home, params)
    incumbent = registry.champion(lake.home, params, besides=trained.key)
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
    return registry.champion(home, params, besides=trained) != incumbent


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
    experiment = registry_runs.experiment_of(client, lake.home, params.name)
    found = client.search_runs([experiment], f"tags.register_key = '{key}'", max_results=1)
    found = found or registry_runs.going_on(client, experiment, trained.key)
    run_id = (
        found[0] if found else client.create_run(experiment, run_name=f"train {trained.key}")
    ).info.run_id
    client.set_tag(run_id, "register_key", key)
    registry_runs.log_stages(
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
        **registry_runs.provenance(runs),
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
    versions = [
        registry.addressed(lake.home, params, f"models:/{params.name}/{version}") for version in (one, other)
    ]
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
