"""Register: a model version in MLflow that says what it was made from, and the promotion rule.

The only module that imports mlflow (late: it takes seconds). A version points at the model's folder
and copies nothing. Every new version becomes `challenger`; `champion` moves by `decide` alone, and
back by `rollback`. A version remembers the champion that it replaced, so rolling back needs no
history of aliases.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import polars as pl

from ranker.config import RegisterParams
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake, lineage
from ranker.lake.lineage import Run
from ranker.refs import Champion, Check, Ref, flat
from ranker.stages.run import run_cached
from ranker.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")

_BATCH = 100
"""MLflow takes at most so many parameters, metrics or tags in one call."""
_ADDRESS = re.compile(r"models:/(?P<name>[^@/'\"]+)(@(?P<alias>[\w.-]+)|/(?P<version>\d+))")


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One task's row for the promotion rule: the RL policy, iterative, thinking where it thinks. All values
    are means over test queries.
    """

    task: str
    rr: float | None
    """Mean reciprocal rank; None where the arm was not evaluated."""
    rr_lower: float | None
    """Lower end of its 95% interval."""
    random_rr: float
    malformed: float | None
    """Share of invalid answers, 0 to 1."""
    tokens: float | None
    """Prompt and completion tokens per query."""
    champion_tokens: float | None = None
    difference: float | None = None
    """RR of the policy minus RR of the champion on the same queries; None where they were not compared."""
    difference_lower: float | None = None
    difference_upper: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate becomes champion, and every reason for and against."""

    promote: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return ("promoted: " if self.promote else "not promoted: ") + "; ".join(self.reasons)


def decide(scores: Sequence[TaskScore], bounds: RegisterParams, champion: str | None) -> Decision:
    """The promotion rule (pure).

    Without a champion the policy must beat chance on every task. With one it must beat the champion
    in a paired test on at least one task and lose more than `bounds.max_regression` on none. In both
    cases it must stay inside the bound on malformed answers, and on cost beside the champion's.

    Args:
        scores: one row per task, all from one evaluation.
        champion: version of the present champion; None where there is none.
    """
    if not scores:
        return Decision(False, ("no task was evaluated",))
    missing = [s.task for s in scores if s.rr is None]
    if missing:
        return Decision(False, (f"the rl policy was not evaluated (iterative) on {', '.join(missing)}",))
    if not bounds.promote:
        return Decision(False, ("promotion is switched off (register.promote = false)",))
    against = list(_against(scores, bounds, champion))
    if against:
        return Decision(False, tuple(against))
    return Decision(True, tuple(_in_favour(scores, champion)))


def _against(scores: Sequence[TaskScore], bounds: RegisterParams, champion: str | None) -> Iterator[str]:
    for score in scores:
        if score.malformed is None or score.malformed > bounds.max_malformed:
            yield (
                f"{score.task}: {_share(score.malformed)} of the answers are malformed, at most"
                f" {bounds.max_malformed:.1%} may be"
            )
    yield from (
        _no_better_than_chance(scores) if champion is None else _no_better_than(champion, scores, bounds)
    )


def _no_better_than_chance(scores: Sequence[TaskScore]) -> Iterator[str]:
    for score in scores:
        if score.rr_lower is None or not score.rr_lower > score.random_rr:
            yield (
                f"{score.task}: MRR {score.rr:.3f} is not clear of chance ({score.random_rr:.3f}); its"
                f" interval starts at {_number(score.rr_lower)}"
            )


def _no_better_than(champion: str, scores: Sequence[TaskScore], bounds: RegisterParams) -> Iterator[str]:
    unpaired = [s.task for s in scores if s.difference is None]
    if unpaired:
        yield (
            f"no paired comparison with champion version {champion} on {', '.join(unpaired)}: evaluate again"
        )
        return
    if not any(s.difference_lower is not None and s.difference_lower > 0 for s in scores):
        yield f"no task is better than champion version {champion} beyond chance ({_differences(scores)})"
    for score in scores:
        if score.difference is not None and score.difference < -bounds.max_regression:
            yield (
                f"{score.task}: MRR falls by {-score.difference:.3f}, at most {bounds.max_regression:.3f} may"
                " be lost"
            )
        if (
            score.tokens
            and score.champion_tokens
            and score.tokens > bounds.max_cost_ratio * score.champion_tokens
        ):
            ratio = score.tokens / score.champion_tokens
            yield (
                f"{score.task}: {ratio:.2f} times the champion's tokens per query, at most"
                f" {bounds.max_cost_ratio:.2f} may be"
            )


def _in_favour(scores: Sequence[TaskScore], champion: str | None) -> Iterator[str]:
    if champion is None:
        beaten = ", ".join(f"{s.task} {s.rr:.3f} against {s.random_rr:.3f}" for s in scores)
        yield f"the first champion; beats chance on every task ({beaten})"
    else:
        yield f"beats champion version {champion} ({_differences(scores)})"


def _differences(scores: Sequence[TaskScore]) -> str:
    return ", ".join(
        f"{s.task} {s.difference:+.3f} [{_number(s.difference_lower, '+.3f')},"
        f" {_number(s.difference_upper, '+.3f')}]"
        for s in scores
    )


def _number(value: float | None, form: str = ".3f") -> str:
    return "unknown" if value is None else format(value, form)


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.1%}"


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
    verdict.
    """
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


def _produce(
    lake: Lake, params: RegisterParams, trained: Ref, scores: Ref, key: str
) -> tuple[dict[str, pl.DataFrame], JsonObject]:
    client = _client(lake.home, params)
    incumbent = champion(lake.home, params, besides=trained.key)
    task_scores = [
        TaskScore(**row)
        for row in lake.named("register/main_arm", {"batch_id": scores.key}).iter_rows(named=True)
    ]
    decision = decide(task_scores, params, incumbent.version if incumbent else None)
    version = _version(client, params.name, key) or _create(client, lake, params, trained, scores, key)
    alias = _settle(client, params.name, version, decision, incumbent)
    facts = {
        "name": params.name,
        "version": str(version.version),
        "run_id": version.run_id,
        "alias": alias,
        "verdict": decision.verdict,
    }
    row = {**facts, "train_key": trained.key, "evaluate_key": scores.key, "registered_at": datetime.now(UTC)}
    return {"model_versions": pl.DataFrame([row])}, {
        **facts,
        "promoted": decision.promote,
        "against": incumbent.version if incumbent else None,
    }


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
    client: MlflowClient, lake: Lake, params: RegisterParams, trained: Ref, scores: Ref, key: str
) -> ModelVersion:
    """A new version. Killed anywhere in here, a repeat finds the run or the version again by its register
    key.
    """
    runs = lineage.of(lake, scores.key)
    experiment = _experiment(client, lake.home, params.name)
    found = client.search_runs([experiment], f"tags.register_key = '{key}'", max_results=1)
    run_id = (
        found[0]
        if found
        else client.create_run(experiment, run_name=f"train {trained.key}", tags={"register_key": key})
    ).info.run_id
    _log(
        client,
        run_id,
        runs,
        lake.rows("select * from evaluations where batch_id = $key", {"key": scores.key}),
        lake.rows("select * from comparisons where batch_id = $key", {"key": scores.key}),
    )
    client.set_terminated(run_id)
    folder = f"{trained.details['model']}/rl"
    tags = {
        "register_key": key,
        "train_key": trained.key,
        "evaluate_key": scores.key,
        "model": folder,
        **_provenance(runs),
    }
    return client.create_model_version(
        params.name, source=str((lake.home / folder).resolve()), run_id=run_id, tags=tags
    )


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
    while version is not None and version.tags.get("train_key") == besides:
        version = _replaced(client, version)
    return _as_champion(version) if version is not None else None


def latest(home: Path, params: RegisterParams) -> Champion | None:
    """The champion, else the challenger, else None: what `ranker rank` serves by default."""
    found = champion(home, params)
    if found is not None or (not params.tracking_uri and not (home / "mlflow.db").exists()):
        return found
    version = _aliased(_client(home, params), params.name, "challenger")
    return _as_champion(version) if version is not None else None


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
    return Champion(
        version=str(version.version),
        train_key=version.tags.get("train_key", ""),
        model=version.tags.get("model") or str(version.source).removeprefix("file://"),
    )


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


def rollback(home: Path, params: RegisterParams) -> tuple[Champion, Champion]:
    """Give the alias `champion` back to the version that the present one replaced.

    Returns:
        (the version that was champion, the version that is champion now).

    Raises:
        StageMissing: there is no champion, or it is the first one.
    """
    present = champion(home, params)
    if present is None:
        raise StageMissing(
            "rolling back needs a champion",
            seen=f"no version of {params.name!r} is champion",
            remedy="run `ranker retrain` first",
        )
    client = _client(home, params)
    former = _replaced(client, client.get_model_version(params.name, present.version))
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
    return present, _as_champion(former)


def _as_champion(version: ModelVersion) -> Champion:
    return Champion(
        version=str(version.version), train_key=version.tags["train_key"], model=version.tags["model"]
    )


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
    from mlflow import MlflowClient

    for chatty in ("alembic", "mlflow"):  # after the import, which sets their levels
        logging.getLogger(chatty).setLevel(logging.WARNING)
    home.mkdir(parents=True, exist_ok=True)
    uri = params.tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
