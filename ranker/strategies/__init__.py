"""A policy's calls become a ranking. Strategies take many queries at once, so that engines can batch across them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ranker.config import StrategyName
from ranker.engines import Engine, Sampling
from ranker.rewards import Exclusion
from ranker.sets import CandidateSet, Episode


class Strategy(Protocol):
    """Ranks the candidates of many queries with one engine."""

    def __call__(self, sets: Sequence[CandidateSet], engine: Engine, *, thinking: bool, sampling: Sampling, exclusion: Exclusion = "binary") -> list[Episode]:
        """One episode per set, in order; `ranking` is always a permutation of the pool."""
        ...


def strategy(name: StrategyName) -> Strategy:
    """The strategy of that name: 'iterative' (IRanker) or 'direct' (DRanker)."""
    from ranker.strategies import direct, elimination

    return {"iterative": elimination.rank, "direct": direct.rank}[name]
