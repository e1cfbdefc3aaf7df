"""Episodes as rows: what distillation, training and evaluation alike write to `episodes` and `steps`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ranker.metrics.ranking import COLUMNS, per_query
from ranker.refs import digest
from ranker.strategies.call import Call
from ranker.types import CandidateSet, Episode, Step

EPISODES = {
    "episode_id": pl.String,
    "stage": pl.String,
    "set_id": pl.String,
    "task": pl.String,
    "model": pl.String,
    "arm": pl.String,
    "strategy": pl.String,
    "thinking": pl.Boolean,
    "seed": pl.Int64,
    "train_step": pl.Int32,
    "ranking": pl.List(pl.String),
    "pool": pl.List(pl.String),
    "calls": pl.Int32,
    "invalid_calls": pl.Int32,
    "prompt_tokens": pl.Int64,
    "completion_tokens": pl.Int64,
    "milliseconds": pl.Float64,
    "reward": pl.Float64,
    **{column: pl.Float64 for column in COLUMNS},
    "parent_episode": pl.String,
    "from_step": pl.Int32,
    "constrained": pl.Boolean,
    "rounds": pl.Int32,
    "cached_tokens": pl.Int64,
}
STEPS = {
    "episode_id": pl.String,
    "step": pl.Int32,
    "mode": pl.String,
    "pool": pl.List(pl.String),
    "prompt": pl.String,
    "completion": pl.String,
    "action": pl.List(pl.String),
    "taken": pl.List(pl.String),
    "valid": pl.Boolean,
    "reason": pl.String,
    "reward": pl.Float64,
    "reward_format": pl.Float64,
    "reward_task": pl.Float64,
    "reward_trace": pl.Float64,
    "advantage": pl.Float64,
    "prompt_tokens": pl.Int32,
    "completion_tokens": pl.Int32,
    "milliseconds": pl.Float64,
    "model": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "constrained": pl.Boolean,
    "round": pl.Int32,
    "cached_tokens": pl.Int32,
    "scores": pl.List(pl.Float64),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who ranked: shared by all episodes of one arm."""

    stage: str
    model: str
    arm: str
    seed: int


def frames(
    episodes: Sequence[Episode], sets: Mapping[str, CandidateSet], origin: Origin
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows for the tables `episodes` and `steps` (without batch_id), complete rankings with their metrics."""
    scores = per_query(
        {e.set_id: e.ranking for e in episodes}, {e.set_id: sets[e.set_id].relevance for e in episodes}
    )
    rows = [_episode(e, sets[e.set_id], origin) | scores[e.set_id] for e in episodes]
    steps = [
        _step(row["episode_id"], step, e.strategy, origin)
        for row, e in zip(rows, episodes, strict=True)
        for step in e.steps
    ]
    return pl.DataFrame(rows, schema=EPISODES), pl.DataFrame(steps, schema=STEPS)


def episode_id(origin: Origin, set_id: str, strategy: str, thinking: bool, *more: Any) -> str:
    """Stable identity of an episode: the same work gives the same id, so repeats can be told from new
    rows.
    """
    return digest(origin.stage, origin.model, origin.arm, origin.seed, set_id, strategy, thinking, *more)


def _episode(episode: Episode, given: CandidateSet, origin: Origin) -> dict[str, Any]:
    steps = [_call(step) for step in episode.steps]
    return {
        "episode_id": episode_id(origin, episode.set_id, episode.strategy, episode.thinking),
        "stage": origin.stage,
        "set_id": episode.set_id,
        "task": given.task,
        "model": origin.model,
        "arm": origin.arm,
        "strategy": episode.strategy,
        "thinking": episode.thinking,
        "seed": origin.seed,
        "train_step": None,
        "ranking": list(episode.ranking),
        "pool": list(given.labels),
        "calls": len(steps),
        "invalid_calls": sum(not step.valid for step in steps),
        "prompt_tokens": sum(step.prompt_tokens for step in steps),
        "completion_tokens": sum(step.completion_tokens for step in steps),
        "milliseconds": sum(step.milliseconds for step in steps),
        "reward": sum(step.reward for step in steps) / max(len(steps), 1),
        "constrained": all(step.constrained for step in steps),
        "rounds": len({step.round for step in steps}),
        "cached_tokens": sum(step.cached_tokens for step in steps),
    }


def _step(identity: str, given: Step, strategy: str, origin: Origin) -> dict[str, Any]:
    step = _call(given)
    return {
        "episode_id": identity,
        "step": step.step,
        "mode": step.mode,
        "pool": list(step.pool),
        "prompt": step.prompt,
        "completion": step.completion,
        "action": list(step.action),
        "taken": list(step.taken),
        "valid": step.valid,
        "reason": step.reason,
        "reward": step.reward,
        "reward_format": step.reward_parts["format"],
        "reward_task": step.reward_parts["task"],
        "reward_trace": step.reward_parts["trace"],
        "advantage": None,
        "prompt_tokens": step.prompt_tokens,
        "completion_tokens": step.completion_tokens,
        "milliseconds": step.milliseconds,
        "model": origin.model,
        "strategy": strategy,
        "seed": origin.seed,
        "constrained": step.constrained,
        "round": step.round,
        "cached_tokens": step.cached_tokens,
        "scores": list(step.scores) or None,
    }


def _call(step: Step) -> Call:
    assert isinstance(step, Call), "strategies make calls (ranker/strategies/call.py)"
    return step


def concat(parts: Iterable[pl.DataFrame], schema: Mapping[str, Any]) -> pl.DataFrame:
    """All parts under one another; an empty frame of `schema` where there are none."""
    return pl.concat([pl.DataFrame(schema=schema), *parts])
