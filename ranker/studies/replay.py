"""Counterfactual replay: a stored episode goes on from one of its steps in another way, and the branch is
stored beside it.

The steps before the branching point are the parent's own, word for word, with the model that gave them. From
there on any model and strategy may take over: another checkpoint, the whole order in one call, another
temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from ranker.config import StrategyName
from ranker.engines import Engine, Sampling, require
from ranker.errors import BadConfig, BadQuery, StageMissing
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_set
from ranker.policy.prompts import without
from ranker.refs import Check, Ref, file_digest
from ranker.stages.run import run_cached
from ranker.strategies import strategy
from ranker.strategies.call import Call
from ranker.strategies.episodes import STEPS, Entry, Origin, Parent, tables
from ranker.types import CandidateSet, Episode, Fields, JsonObject

ARM = "replay"


class Branch(BaseModel):
    """How an episode goes on."""

    model_config = ConfigDict(frozen=True)

    model: str
    """Identity of the weights, as in episodes.model."""
    weights: str = ""
    """Digest of the weights, where they are files."""
    from_step: int
    strategy: StrategyName
    thinking: bool
    max_completion_length: int = 64
    temperature: float = 0.0
    seed: int = 0
    constrained: bool = False
    """Only valid answers can be written."""


def find(lake: Lake, episode: str) -> JsonObject:
    """The episode whose id is, or begins with, `episode`; of runs that made the same one, the latest.

    Raises:
        StageMissing: there is none.
        BadQuery: there are several.
    """
    rows = lake.named("replay/parent", {"episode": episode}).to_dicts() if episode else []
    ids = list(dict.fromkeys(row["episode_id"] for row in rows))
    if not ids:
        raise StageMissing(
            "an episode must be stored to be replayed",
            seen=f"no episode {episode!r}",
            remedy=(
                'ranker query "select episode_id, task, arm, strategy, rr from episodes where stage ='
                " 'evaluate' order by rr\""
            ),
        )
    if len(ids) > 1:
        raise BadQuery(
            "the beginning of an id must be that of one episode",
            seen=f"{episode!r} begins {len(ids)}, for example {', '.join(ids[:3])}",
            remedy="give more of its letters",
        )
    return rows[0]


def weights(home: Path, model: str) -> tuple[str, Path, str]:
    """Identity, folder and digest of a model, given as in episodes.model or as a folder.

    Raises:
        BadModel: there is no such model in the data folder, and no such folder.
    """
    ours = home / "models" / model
    folder = (ours if ours.is_dir() else Path(model)).resolve()
    require(folder)
    digests = [file_digest(path) for path in sorted(folder.glob("*.safetensors"))]
    return identity(home, folder), folder, " ".join(digests)


def identity(home: Path, folder: Path) -> str:
    """What episodes.model calls a model folder: `<train key>/<phase>` below the data folder's models, else
    the folder's name.
    """
    folder, kept = folder.resolve(), (home / "models").resolve()
    return folder.relative_to(kept).as_posix() if folder.is_relative_to(kept) else folder.name


def run(
    lake: Lake,
    parent: Fields,
    branch: Branch,
    engine: Callable[[], Engine],
    *,
    check: Check,
    force: bool = False,
) -> Ref:
    """Store the branch of `parent` (a row that `find` gave). `engine()` is called only where there is
    something to do.

    Raises:
        BadQuery: from that step on there is nothing left to decide.
    """
    given = _pool(lake, parent)
    before = lake.named(
        "replay/steps",
        {"batch_id": parent["batch_id"], "episode": parent["episode_id"], "before": branch.from_step},
    )
    left = _left(given, parent, before, branch.from_step)
    inputs = [_ref(lake, "candidates", parent["sets"]), _ref(lake, parent["stage"], parent["batch_id"])]

    def produce(key: str) -> tuple[Mapping[str, pl.DataFrame], JsonObject]:
        branched = _branched(parent, given, before, left, branch, engine())
        return branched, {
            "parent": parent["episode_id"],
            "parent_batch": parent["batch_id"],
            "episode": branched["episodes"]["episode_id"].item(),
        }

    return run_cached(
        lake,
        "replay",
        parameters=[parent["episode_id"], branch],
        inputs=inputs,
        roots=[__name__],
        check=check,
        force=force,
        produce=produce,
    )


def beside(lake: Lake, ref: Ref) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parent and branch: what came of each, and their steps side by side."""
    asked = {"batch_id": ref.key, "parent": ref.details["parent_batch"]}
    return lake.named("replay/outcome", asked), lake.named("replay/branch", asked)


def _pool(lake: Lake, parent: Fields) -> CandidateSet:
    """The parent's candidates in its own order (a training rollout may have had a part of the set)."""
    given = load_set(lake, parent["sets"], parent["set_id"])
    if given is None:
        raise StageMissing(
            "an episode's candidate set must still be there",
            seen=f"no set {parent['set_id']} of {parent['sets']}",
            remedy="repeat `ranker run candidates` with the parameters of then, or look back with --at",
        )
    by_label = {candidate.label: candidate for candidate in given.candidates}
    return replace(given, candidates=tuple(by_label[label] for label in parent["pool"]))


def _left(given: CandidateSet, parent: Fields, before: pl.DataFrame, from_step: int) -> CandidateSet:
    """What the steps before have left to decide upon."""
    if from_step and not strategy(parent["strategy"]).settles:
        raise BadQuery(
            "a branch leaves an episode after its first step where every call settles its candidates' places",
            seen=f"step {from_step} of an episode by {parent['strategy']}",
            remedy="give --from-step 0",
        )
    left = without(given, [label for taken in before["taken"] for label in taken])
    if not 0 <= from_step <= parent["calls"] or len(left) < 2:
        last = (
            parent["calls"]
            if parent["strategy"].startswith("iterative") and parent["calls"] < len(given) - 1
            else parent["calls"] - 1
        )
        raise BadQuery(
            "a branch leaves the episode where at least two candidates are left",
            seen=f"step {from_step} of an episode with {parent['calls']} calls: {len(left)} left",
            remedy=f"give --from-step 0 to {last}",
        )
    return left


def _branched(
    parent: Fields,
    given: CandidateSet,
    before: pl.DataFrame,
    left: CandidateSet,
    branch: Branch,
    engine: Engine,
) -> dict[str, pl.DataFrame]:
    """Rows of the branch: the parent's steps, then the new ones."""
    if branch.temperature and engine.style == "likelihood":
        raise BadConfig(
            "a likelihood policy answers by its scores and is not sampled",
            seen=f"temperature {branch.temperature:g} with {branch.model}",
            remedy="leave --temperature away; the temperature of its own scores is fitted in training",
        )
    sampling = Sampling(branch.max_completion_length, branch.temperature, branch.seed, branch.constrained)
    tail = strategy(branch.strategy)([left], engine, thinking=branch.thinking, sampling=sampling)[0]
    made = tables(
        [
            Entry(
                _joined(before, tail, branch.from_step),
                Origin("replay", branch.model, ARM, branch.seed),
                given.task,
                given.labels,
                given.relevance,
                more=(parent["episode_id"], branch),
                parent=Parent(parent["episode_id"], branch.from_step),
            )
        ]
    )
    # The parent's steps are copied: who made them, and how, is the parent's.
    kept = before.select(pl.col(name).cast(kind) for name, kind in STEPS.items()).with_columns(
        episode_id=pl.lit(made["episodes"]["episode_id"].item())
    )
    new = made["steps"].filter(pl.col("step") >= branch.from_step)
    return {"episodes": made["episodes"], "steps": pl.concat([kept, new])}


def _joined(before: pl.DataFrame, tail: Episode, from_step: int) -> Episode:
    """One episode of both parts: who was excluded before ranks below all that was decided after."""
    first = [_step(row) for row in before.iter_rows(named=True)]
    rounds = max((step.round for step in first), default=-1) + 1
    later = [
        replace(step, step=from_step + number, round=rounds + step.round)
        for number, step in enumerate(tail.steps)
        if isinstance(step, Call)
    ]
    excluded = tuple(label for step in reversed(first) for label in reversed(step.taken))
    return replace(tail, ranking=tail.ranking + excluded, steps=(*first, *later))


def _step(row: Fields) -> Call:
    parts = {name: row[f"reward_{name}"] for name in ("format", "task", "trace")}
    lists = {name: tuple(row[name]) for name in ("pool", "action", "taken")}
    same = (
        "step",
        "prompt",
        "completion",
        "valid",
        "reason",
        "reward",
        "prompt_tokens",
        "completion_tokens",
        "milliseconds",
    )
    later = {"round": row["step"]} | {
        name: row[name]
        for name in ("round", "constrained", "cached_tokens", "shortened")
        if row[name] is not None
    }  # columns younger than the table
    return Call(
        **lists,
        **{name: row[name] for name in same},
        reward_parts=parts,
        mode=row["mode"],
        scores=tuple(row["scores"] or ()),
        log_likelihoods=tuple(row["log_likelihoods"] or ()),
        temperature=row["temperature"],
        **later,
    )


def _ref(lake: Lake, stage: str, key: str) -> Ref:
    found = lake.finished(stage, key)
    assert found is not None, "the parent was found through these runs"
    return found
