"""Candidate sets and episodes as Python values: what stages read from the lake and strategies act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from string import ascii_uppercase
from typing import Any

import polars as pl


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate as shown. `relevance` is graded (0 = not relevant); it is never put in a prompt."""

    label: str
    item_id: str
    text: str
    relevance: float
    prior: float = 0.0
    """First-stage score, for the baseline row (popularity count, BM25 score, mean effect of an LLM)."""


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """One query with its pool, in shown order. `query_items` is the history, oldest first (else empty)."""

    set_id: str
    task: str
    split: str
    group_id: str
    """What the bootstrap resamples and the split separates: the user, or the source of a passage."""
    query: str
    query_items: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    def __len__(self) -> int:
        return len(self.candidates)

    def keep(self, labels: Sequence[str]) -> CandidateSet:
        """The same set with only `labels` left, in shown order and under their old labels."""
        wanted = set(labels)
        return replace(self, candidates=tuple(c for c in self.candidates if c.label in wanted))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(c.label for c in self.candidates)

    @property
    def relevance(self) -> dict[str, float]:
        """Relevance by label."""
        return {c.label: c.relevance for c in self.candidates}


@dataclass(frozen=True, slots=True)
class Step:
    """One model call inside an episode."""

    step: int
    pool: tuple[str, ...]
    """Labels as shown."""
    prompt: str
    completion: str
    action: tuple[str, ...]
    """Labels that the answer named, as parsed; empty where there was no valid answer."""
    taken: tuple[str, ...]
    """Labels acted on: `action`, or the stated fallback where the answer was invalid."""
    valid: bool
    reason: str
    """Why an answer is invalid (see parsing.Reason); empty where valid."""
    reward: float
    reward_parts: dict[str, float]
    prompt_tokens: int
    completion_tokens: int
    milliseconds: float
    """Wall time of the batch this call was part of, divided by the batch's size."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One ranking of one query by one model with one strategy."""

    set_id: str
    strategy: str
    thinking: bool
    ranking: tuple[str, ...]
    """Labels, best first; always a permutation of the pool."""
    steps: tuple[Step, ...]

    @property
    def valid(self) -> bool:
        return all(step.valid for step in self.steps)


_POOL = pl.Struct(
    {
        "label": pl.String,
        "item_id": pl.String,
        "text": pl.String,
        "relevance": pl.Float64,
        "prior": pl.Float64,
    }
)
_SETS = {
    "set_id": pl.String,
    "task": pl.String,
    "split": pl.String,
    "group_id": pl.String,
    "query": pl.String,
    "query_items": pl.List(pl.String),
    "pool": pl.List(_POOL),
}


def slot_labels(n: int) -> tuple[str, ...]:
    """`n` short opaque labels: A..Z, then AA, AB, … (one word-level token each)."""
    labels = list(ascii_uppercase)
    if n > len(labels):
        labels += ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    if n > len(labels):
        raise ValueError(f"at most {len(labels)} candidates can be labelled, {n} asked for")
    return tuple(labels[:n])


def load_sets(
    lake: Any, batch_id: str, *, split: str | None = None, task: str | None = None, limit: int | None = None
) -> list[CandidateSet]:
    """Candidate sets of one candidates batch, by task, split and a digest of the query; pools in shown order.

    That order is the same where candidates are drawn anew, by other settings or other code: what is drawn
    from it by a seed is, too.

    Args:
        lake: an open `ranker.lake.Lake`.
        batch_id: key of the candidates stage.
        split, task: restrict to one split or task.
        limit: at most so many sets per task and split, the first in that order: a random sample of its
            queries.
    """
    frame = lake.named("evaluate/sets", {"batch_id": batch_id, "split": split, "task": task, "most": limit})
    return from_frame(frame)


def to_frame(sets: Sequence[CandidateSet]) -> pl.DataFrame:
    """One row a set, its pool a list of structs in shown order; `from_frame` reads it back."""
    rows = [
        {
            **asdict(given),
            "query_items": list(given.query_items),
            "pool": [asdict(c) for c in given.candidates],
        }
        for given in sets
    ]
    return pl.DataFrame([{name: row[name] for name in _SETS} for row in rows], schema=_SETS)


def from_frame(frame: pl.DataFrame) -> list[CandidateSet]:
    """The sets of such a frame, in its order."""
    return [_from_row(row) for row in frame.iter_rows(named=True)]


def load_set(lake: Any, batch_id: str, set_id: str) -> CandidateSet | None:
    """One candidate set of a candidates batch; None where it has no such set."""
    rows = lake.named("replay/set", {"batch_id": batch_id, "set_id": set_id}).to_dicts()
    return _from_row(rows[0]) if rows else None


def _from_row(row: dict[str, Any]) -> CandidateSet:
    pool = tuple(
        Candidate(c["label"], c["item_id"], c["text"], c["relevance"], c["prior"]) for c in row["pool"]
    )
    return CandidateSet(
        row["set_id"],
        row["task"],
        row["split"],
        row["group_id"],
        row["query"],
        tuple(row["query_items"]),
        pool,
    )
