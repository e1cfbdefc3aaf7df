"""Requests through one call of the strategy: what the server, `ranker rank` and the library share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranker.engines import Engine, reasons
from ranker.serving.schema import alone
from ranker.serving.settings import How
from ranker.strategies.base import Strategy
from ranker.strategies.direct import Direct
from ranker.strategies.likelihood import reader
from ranker.types import CandidateSet, Episode


def episodes(sets: Sequence[CandidateSet], engine: Engine, how: How) -> list[Episode]:
    """One ranking a set, in order. Of a single candidate there is nothing to rank, but a likelihood policy
    has a score for it.

    Raises:
        PromptTooLong, BadModel, BadConfig: the engine or the strategy cannot rank one of them.
    """
    single = [one for one in sets if len(one) == 1]
    several = [one for one in sets if len(one) > 1]
    ranked = iter(_by(how.way, several, engine, how))
    scored = iter(
        _by(Direct(), single, engine, how) if reader(engine) else [alone(one, "") for one in single]
    )
    return [
        next(ranked) if len(given) > 1 else replace(next(scored), strategy=str(how.way)) for given in sets
    ]


def _by(way: Strategy, sets: Sequence[CandidateSet], engine: Engine, how: How) -> list[Episode]:
    return way(sets, engine, thinking=reasons(engine, how.thinking), sampling=how.sampling)
