"""One batch of requests through one call of the strategy, by the model that serves when the batch begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ranker.engines import Sampling
from ranker.errors import RankerError
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Models
from ranker.strategies.base import Strategy
from ranker.types import CandidateSet, Episode


@dataclass(frozen=True, slots=True)
class How:
    """How the server ranks: the same for every request."""

    way: Strategy
    thinking: bool = True
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
        how = self._how
        try:
            episodes = how.way(sets, serving.engine, thinking=how.thinking, sampling=how.sampling)
        except RankerError as error:
            if len(sets) == 1:
                return [error]
            return [found for given in sets for found in self._ranked([given], serving)]
        return [Ranked(episode, serving) for episode in episodes]
