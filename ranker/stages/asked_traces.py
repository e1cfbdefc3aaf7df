"""What teachers are asked to write, whoever they are: which training queries, which of their candidates, in
which mode, with or without a reasoning; and the table of traces that it becomes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from ranker.config import DistillParams, Task

SMALLEST_POOL = 2
"""Candidates of the smallest sub-pool that a trace is written for."""
WHOLE_POOLS = 0.5
"""Share of the orders asked for that are of whole pools."""
TRACES = {
    "trace_id": pl.String,
    "set_id": pl.String,
    "task": pl.String,
    "mode": pl.String,
    "thinking": pl.Boolean,
    "pool": pl.List(pl.String),
    "teacher": pl.String,
    "teacher_kind": pl.String,
    "completion": pl.String,
    "action": pl.List(pl.String),
    "accepted": pl.Boolean,
    "reason": pl.String,
    "prompt_tokens": pl.Int32,
    "completion_tokens": pl.Int32,
    "milliseconds": pl.Float64,
    "cost": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Draws:
    """What is asked for each trace: arrays by trace, or traces × candidates of a whole pool."""

    row: np.ndarray
    """Row of its set."""
    shown: np.ndarray
    """bool, traces × n: which candidates are in its pool."""
    whole: np.ndarray
    """bool: the whole order is asked for, and not the one to exclude."""
    thinking: np.ndarray
    """bool: it reasons first."""
    first: np.ndarray
    """traces × n: of equals, the one with the least comes first."""


def draws(params: DistillParams, task: str, relevance: np.ndarray, whole_pools: float = WHOLE_POOLS) -> Draws:
    """What is asked of a task's teacher, by `distill.seed`.

    Sets take turns in a drawn order; sub-pool sizes are even from SMALLEST_POOL to n (a DRanker is always
    asked for whole pools, so a share `whole_pools` of its traces has them); a most relevant candidate is
    always shown.

    Args:
        relevance: sets × n.
    """
    rng = np.random.default_rng(
        int.from_bytes(hashlib.sha256(f"{params.seed}|{task}".encode()).digest()[:8], "big")
    )
    sets, n = relevance.shape
    at = np.resize(rng.permutation(sets), params.traces)
    keys = rng.random((params.traces, n))
    best = relevance[at] == relevance[at].max(1, keepdims=True)
    kept_best = np.argmax(np.where(best, keys, -1), axis=1)
    keys[np.arange(params.traces), kept_best] = -1
    whole = rng.random(params.traces) < params.rank_share
    sizes = rng.integers(min(SMALLEST_POOL, n), n + 1, params.traces)
    sizes[whole & (rng.random(params.traces) < whole_pools)] = n
    shown = keys.argsort(1).argsort(1) < sizes[:, None]
    thinking = rng.random(params.traces) >= params.nothink_share
    return Draws(at, shown, whole, thinking, rng.random((params.traces, n)))


def trace_id(key: str, task: str, number: int) -> str:
    """16 hex digits: of the `number`-th trace of a task in the batch `key`."""
    return hashlib.sha256(f"{key}|{task}|{number}".encode()).hexdigest()[:16]


def shape(task: Task) -> list[object]:
    """What of a task's definition decides its traces."""
    return [task.name, task.scenario, task.max_words, task.wording]
