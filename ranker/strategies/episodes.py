"""Episodes as rows: the only writer of `episodes` and `steps`.

Training's recorder, evaluation, the studies, replay and the collection of what was served all come through
`tables`, so that their rows have the same columns. Where a column is null in one and not in another, the
reason stands beside it below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from ranker.metrics.ranking import COLUMNS, per_query
from ranker.refs import digest
from ranker.strategies.call import Call
from ranker.types import CandidateSet, Episode, Step

Schema = dict[str, DataType | DataTypeClass]
"""Column name → type, in the order of the table."""
EPISODES: Schema = {
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
    "shortened_calls": pl.Int32,
}
STEPS: Schema = {
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
    "log_likelihoods": pl.List(pl.Float64),
    "temperature": pl.Float64,
    "repairs": pl.List(pl.String),
    "reward_length": pl.Float64,
    "shortened": pl.Int32,
}
NULLS = {
    "train_step": "only training has optimizer steps",
    "advantage": "only training compares the answers to one question",
    "parent_episode": "only a replay branches off another episode",
    "from_step": "as parent_episode",
    "shortened_calls": "training counts the prompts that it cuts by task, in its record",
    "shortened": "as shortened_calls",
    "scores": "an answer that was written has none, whoever asked for it",
    "log_likelihoods": "only a likelihood policy has them",
    "temperature": "as log_likelihoods",
    "repairs": "an answer that was read strictly has none, and one that was not written",
    **dict.fromkeys(
        COLUMNS,
        "there is no complete ranking to judge (a rollout of training is one decision), or nobody has judged"
        " the candidates (what was served)",
    ),
}
"""Column → why it is null in the rows of one writer and not in those of another. No other may be."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who ranked: shared by all episodes of one arm."""

    stage: str
    model: str
    arm: str
    seed: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """What training alone knows of an episode: the optimizer step, and the advantage of each of its calls."""

    train_step: int
    advantages: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Parent:
    """What replay alone knows of an episode: which one it branches off, and at which step."""

    episode_id: str
    from_step: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode to be written, with what its row needs besides."""

    episode: Episode
    origin: Origin
    task: str
    pool: Sequence[str]
    """Labels as first shown."""
    relevance: Mapping[str, float] | None = None
    """Graded relevance by label of the pool; None leaves the metrics null."""
    more: tuple[object, ...] = ()
    """What tells this episode from others of the same origin, set, strategy and thinking."""
    rollout: Rollout | None = None
    parent: Parent | None = None


Tables = dict[str, pl.DataFrame]
"""Rows of `episodes` and of `steps`, without batch_id, by the table's name."""


def tables(entries: Sequence[Entry]) -> Tables:
    """Rows for the tables `episodes` and `steps`, in the order given.

    Raises:
        TypeError: a step was not made by a strategy's call, so that its row would lack how it was made.
    """
    known = {
        str(place): entry for place, entry in enumerate(entries) if entry.relevance is not None
    }  # by place: a set may be ranked several times
    scores = per_query(
        {place: entry.episode.ranking for place, entry in known.items()},
        {place: entry.relevance or {} for place, entry in known.items()},
    )
    unjudged = dict.fromkeys(COLUMNS)
    return Tables(
        episodes=pl.DataFrame(
            [_episode(entry) | scores.get(str(place), unjudged) for place, entry in enumerate(entries)],
            schema=EPISODES,
        ),
        steps=pl.DataFrame([row for entry in entries for row in _steps(entry)], schema=STEPS),
    )


def judged(episodes: Sequence[Episode], sets: Mapping[str, CandidateSet], origin: Origin) -> Tables:
    """Rows of complete rankings, with their metrics. `sets`: by set_id."""
    return tables(
        [
            Entry(e, origin, sets[e.set_id].task, sets[e.set_id].labels, sets[e.set_id].relevance)
            for e in episodes
        ]
    )


def together(parts: Iterable[Tables]) -> Tables:
    """All parts under one another; empty tables where there are none."""
    found = [tables(()), *parts]
    return Tables(
        episodes=pl.concat([part["episodes"] for part in found]),
        steps=pl.concat([part["steps"] for part in found]),
    )


def episode_id(origin: Origin, set_id: str, strategy: str, thinking: bool, *more: object) -> str:
    """Stable identity of an episode: the same work gives the same id, so repeats can be told from new
    rows.
    """
    return digest(origin.stage, origin.model, origin.arm, origin.seed, set_id, strategy, thinking, *more)


def _identity(entry: Entry) -> str:
    episode = entry.episode
    return episode_id(entry.origin, episode.set_id, episode.strategy, episode.thinking, *entry.more)


def _episode(entry: Entry) -> dict[str, object]:
    episode, origin = entry.episode, entry.origin
    steps = [_call(step) for step in episode.steps]
    return {
        "episode_id": _identity(entry),
        "stage": origin.stage,
        "set_id": episode.set_id,
        "task": entry.task,
        "model": origin.model,
        "arm": origin.arm,
        "strategy": episode.strategy,
        "thinking": episode.thinking,
        "seed": origin.seed,
        "train_step": entry.rollout and entry.rollout.train_step,
        "ranking": list(episode.ranking),
        "pool": list(entry.pool),
        "calls": len(steps),
        "invalid_calls": sum(not step.valid for step in steps),
        "prompt_tokens": sum(step.prompt_tokens for step in steps),
        "completion_tokens": sum(step.completion_tokens for step in steps),
        "milliseconds": sum(step.milliseconds for step in steps),
        "reward": sum(step.reward for step in steps) / max(len(steps), 1),
        "parent_episode": entry.parent and entry.parent.episode_id,
        "from_step": entry.parent and entry.parent.from_step,
        "constrained": all(step.constrained for step in steps),
        "rounds": len({step.round for step in steps}),
        "cached_tokens": sum(step.cached_tokens for step in steps),
        "shortened_calls": None if entry.rollout else sum(step.shortened > 0 for step in steps),
    }


def _steps(entry: Entry) -> list[dict[str, object]]:
    identity = _identity(entry)
    calls = [_call(step) for step in entry.episode.steps]
    advantages = entry.rollout.advantages if entry.rollout else (None,) * len(calls)
    return [
        _step(identity, call, entry, advantage) for call, advantage in zip(calls, advantages, strict=True)
    ]


def _step(identity: str, step: Call, entry: Entry, advantage: float | None) -> dict[str, object]:
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
        "advantage": advantage,
        "prompt_tokens": step.prompt_tokens,
        "completion_tokens": step.completion_tokens,
        "milliseconds": step.milliseconds,
        "model": entry.origin.model,
        "strategy": entry.episode.strategy,
        "seed": entry.origin.seed,
        "constrained": step.constrained,
        "round": step.round,
        "cached_tokens": step.cached_tokens,
        "scores": list(step.scores) or None,
        "log_likelihoods": list(step.log_likelihoods) or None,
        "temperature": step.temperature,
        "repairs": None if step.repairs is None else list(step.repairs),
        "reward_length": step.reward_parts.get("length", 0.0),
        "shortened": None if entry.rollout else step.shortened,
    }


def _call(step: Step) -> Call:
    if not isinstance(step, Call):
        raise TypeError(f"steps of an episode are calls (ranker/strategies/call.py); seen {type(step)}")
    return step
