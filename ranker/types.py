"""Candidate sets and episodes as Python values: what stages read from the lake and strategies act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from string import ascii_uppercase
from typing import Any

JsonObject = dict[str, Any]
"""What json, tomllib and polars give for an object or a row: values are checked where they are used."""
Fields = Mapping[str, Any]
"""A `JsonObject` to be read only: a row of a table, the parameters of a statement."""


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


def slot_labels(n: int) -> tuple[str, ...]:
    """`n` short opaque labels: A..Z, then AA, AB, … (one word-level token each)."""
    labels = list(ascii_uppercase)
    if n > len(labels):
        labels += ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    if n > len(labels):
        raise ValueError(f"at most {len(labels)} candidates can be labelled, {n} asked for")
    return tuple(labels[:n])
