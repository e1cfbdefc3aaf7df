"""One batch of requests through one call of the strategy, by the model that serves when the batch begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ranker.engines import Sampling, reasons
from ranker.errors import RankerError
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Models
from ranker.serving.schema import alone
from ranker.strategies.base import Strategy
from ranker.strategies.direct import Direct
from ranker.strategies.likelihood import reader
from ranker.types import CandidateSet, Episode


@dataclass(frozen=True, slots=True)
class How:
    """How the server ranks: the same for every request."""

    way: Strategy
    thinking: bool | None = None
    """None: where the model that serves can reason."""
    sampling: Sampling = field(default_factory=lambda: Sampling(256))


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
        several, single = [one for one in sets if len(one) > 1], [one for one in sets if len(one) == 1]
        try:
            episodes = iter(self._episodes(self._how.way, several, serving))
            scored = iter(self._scored(single, serving))
        except RankerError as error:
            if len(sets) == 1:
                return [error]
            return [found for given in sets for found in self._ranked([given], serving)]
        return [Ranked(next(episodes if len(given) > 1 else scored), serving) for given in sets]

    def _episodes(self, way: Strategy, sets: Sequence[CandidateSet], serving: Loaded) -> list[Episode]:
        thinking = reasons(serving.engine, self._how.thinking)
        return way(sets, serving.engine, thinking=thinking, sampling=self._how.sampling)

    def _scored(self, sets: Sequence[CandidateSet], serving: Loaded) -> list[Episode]:
        """Single documents: there is nothing to rank, but a likelihood policy has a score for each."""
        name = str(self._how.way)
        if not reader(serving.engine):
            return [alone(given, name) for given in sets]
        return [replace(one, strategy=name) for one in self._episodes(Direct(), sets, serving)]
