"""The queries that a policy ranks best and worst, with what it thought of their candidates: a mean says how
well a model ranks, and these say what it gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ranker.lake import Lake

MOST = 5
"""Queries of each kind."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A candidate where it ended."""

    rank: int
    text: str
    relevance: float
    score: float | None
    """Log-likelihood per token or summed, as the task's template says; None where the model gives none."""


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """One query as it was ranked, the first candidate first."""

    query: str
    rr: float
    candidates: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Extremes:
    """Of one task the worst ranked queries, the worst first, and the best."""

    task: str
    worst: tuple[RankedQuery, ...]
    best: tuple[RankedQuery, ...]


def extremes(lake: Lake, key: str, arm: str, strategy: str, thinking: bool) -> tuple[Extremes, ...]:
    """By task, of the evaluation `key` and one way of ranking; where there are few, each is given once."""
    way = {"arm": arm, "strategy": strategy, "thinking": thinking}
    rows = lake.named("report/extremes", {"batch_id": key, **way, "most": MOST}).to_dicts()
    found: list[Extremes] = []
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        own = [row for row in rows if row["task"] == task]
        worst = [row for row in own if row["worst"] <= MOST]
        best = sorted((row for row in own if row["worst"] > MOST), key=lambda row: row["best"])
        found.append(Extremes(task, tuple(map(_ranked, worst)), tuple(map(_ranked, best))))
    return tuple(found)


def _ranked(row: Mapping[str, Any]) -> RankedQuery:
    scores = dict(zip(row["labels"] or (), row["scores"] or (), strict=True))
    by_label = {one["label"]: one for one in row["candidates"]}
    placed = [
        Placed(rank, by_label[label]["text"], by_label[label]["relevance"], scores.get(label))
        for rank, label in enumerate(row["ranking"], start=1)
        if label in by_label
    ]
    return RankedQuery(row["query"], row["rr"], tuple(placed))
