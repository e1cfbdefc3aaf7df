"""One batch of requests through one call of the strategy, by the model that serves when the batch begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ranker.errors import RankerError
from ranker.serving.episodes import episodes
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Models
from ranker.serving.settings import How
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
