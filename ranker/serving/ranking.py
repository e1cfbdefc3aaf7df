"""One batch of requests through one call of the strategy, by the model that serves when the batch begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ranker.engines import Engine, reasons
from ranker.errors import RankerError
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Models
from ranker.serving.schema import alone
from ranker.serving.settings import How
from ranker.strategies.base import Strategy
from ranker.strategies.direct import Direct
from ranker.strategies.likelihood import reader
from ranker.types import CandidateSet, Episode

CHARACTERS = 4
"""Of a token of English text, about."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An episode and the model that made it."""

    episode: Episode
    by: Loaded


class Ranking:
    """The work of the batcher."""

    def __init__(self, models: Models, how: How, metrics: ServingMetrics) -> None:
        self._models, self._how, self._measures = models, how, metrics

    def __call__(self, sets: Sequence[CandidateSet]) -> list[Ranked | Exception]:
        """One result a set, in order.

        What cannot be ranked (a prompt too long for the model) spoils no other request of its batch.
        """
        serving = self._models.current
        assert serving is not None, "requests are taken only where a model serves"
        self._measures.batch(len(sets))
        done = self._ranked(sets, serving)
        self._measures.episodes([one.episode for one in done if isinstance(one, Ranked)])
        return done

    def _ranked(self, sets: Sequence[CandidateSet], serving: Loaded) -> list[Ranked | Exception]:
        try:
            return [Ranked(one, serving) for one in episodes(sets, serving.engine, self._how)]
        except RankerError as error:
            if len(sets) == 1:
                return [error]
            return [found for given in sets for found in self._ranked([given], serving)]


def tokens(given: CandidateSet) -> int:
    """About how many tokens a model reads of it: the query beside each candidate, four characters a token."""
    characters = sum(len(one.text) + len(given.query) for one in given.candidates)
    return 1 + characters // CHARACTERS


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
