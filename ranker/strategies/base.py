"""What a strategy is, and how the calls of many queries share one engine.

A strategy plans one query: a generator that yields what it wants to know now (requests that wait for none of
each other), is sent the answers, and returns the ranking. Queries advance independently: whatever is ready
fills the next batch, and a query whose answers have come goes on without waiting for others. Earlier queries
go first, so that few are under way at once and what an engine has cached of them is soon used.
"""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ranker.engines import Completion, Engine, Sampling, Scored, Streaming, scorer
from ranker.errors import BadConfig
from ranker.policy.prompts import Mode, Prompt
from ranker.policy.rewards import Exclusion
from ranker.progress import made
from ranker.strategies.call import Call, Request, enough, scored, written
from ranker.strategies.likelihood import Reader, Scores, answered, reader
from ranker.types import CandidateSet, Episode

Plan = Generator[Sequence[Request], list[Call], tuple[str, ...]]
"""Yields requests, is sent their calls, returns the labels best first."""
MOST_CALLS = 10_000
"""Of one query: what its seeds are apart from those of the next."""


class Strategy(BaseModel):
    """A strategy with its parameters. `str(way)` names it: `iterative`, `window:size=10,step=5`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: ClassVar[str]
    settles: ClassVar[bool] = False
    """What a call takes has its place for good, and later calls are about the rest: an episode may be left
    after any call (replay).
    """

    @abstractmethod
    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        """How one query is ranked. `draw` is the query's own: the same set and seed give the same draws."""

    @property
    @abstractmethod
    def modes(self) -> frozenset[Mode]:
        """The kinds of question that it asks."""

    def __call__(
        self,
        sets: Sequence[CandidateSet],
        engine: Engine,
        *,
        thinking: bool,
        sampling: Sampling,
        exclusion: Exclusion = "binary",
        tolerant: bool = False,
    ) -> list[Episode]:
        """One episode per set, in order; `ranking` is always a permutation of the pool.

        Args:
            tolerant: read answers as `parse_tolerantly` does; for models that were never trained here.

        Raises:
            BadConfig: it needs the labels' scores and the engine cannot give them; a constrained answer does
            not fit its limit; or reasoning is asked of a likelihood policy.
        """
        if thinking and reader(engine):
            raise BadConfig(
                "a likelihood policy writes no reasoning",
                seen=f"{self} with reasoning by {engine.name}",
                remedy="ask without: evaluate.thinking = [false], --no-think",
            )
        queries = [
            _Query(given, self.plan(given, thinking, Random(f"{sampling.seed} {given.set_id}")))
            for given in sets
        ]
        _Loop(queries, engine, sampling, exclusion, tolerant).run()
        return [query.episode(str(self), thinking) for query in queries]

    def __str__(self) -> str:
        parameters = [
            f"{name}={_text(getattr(self, name))}"
            for name, about in type(self).model_fields.items()
            if getattr(self, name) != about.default
        ]
        return f"{self.title}:{','.join(parameters)}" if parameters else self.title


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


@dataclass(eq=False)
class _Query:
    """One query under way."""

    given: CandidateSet
    plan: Plan
    steps: list[Call] = field(default_factory=list[Call])
    ranking: tuple[str, ...] = ()
    _requests: Sequence[Request] = ()
    _answers: dict[int, Call] = field(default_factory=dict[int, Call])
    _round: int = -1

    def begin(self) -> Sequence[Request]:
        """Its first requests; none where there is nothing to ask."""
        return self._on(None)

    def answered(self, number: int, call: Call) -> Sequence[Request]:
        """Its next requests, once the answer to the `number`-th of the present ones was the last that it
        waited for.
        """
        self._answers[number] = call
        if len(self._answers) < len(self._requests):
            return ()
        return self._on([self._answers[place] for place in range(len(self._requests))])

    def _on(self, calls: list[Call] | None) -> Sequence[Request]:
        calls = (
            [
                replace(call, step=len(self.steps) + place, round=self._round)
                for place, call in enumerate(calls)
            ]
            if calls
            else calls
        )
        self.steps += calls or []
        self._answers.clear()
        self._round += 1
        try:
            self._requests = self.plan.send(calls) if calls else next(self.plan)
        except StopIteration as end:
            self._requests, self.ranking = (), end.value
        return self._requests

    def episode(self, name: str, thinking: bool) -> Episode:
        assert sorted(self.ranking) == sorted(self.given.labels), (
            f"{name} gave no permutation of the pool of {self.given.set_id}"
        )
        return Episode(self.given.set_id, name, thinking, self.ranking, tuple(self.steps))


@dataclass(order=True)
class _Waiting:
    """A request in the queue; the earlier query first."""

    query: int
    number: int
    request: Request = field(compare=False)


class _Loop:
    """Fills the engine's batches until every query is ranked."""

    def __init__(
        self,
        queries: Sequence[_Query],
        engine: Engine,
        sampling: Sampling,
        exclusion: Exclusion,
        tolerant: bool,
    ) -> None:
        # those of like length together, so that batches are little padded; the longest first, so that none is
        # left to run alone
        self.queries = sorted(queries, key=lambda query: -sum(len(c.text) for c in query.given.candidates))
        self.engine, self.sampling = engine, sampling
        self.reader = reader(engine)
        self.exclusion: Exclusion = exclusion
        self.tolerant = tolerant
        self.written: list[_Waiting] = []
        self.scored: list[_Waiting] = []
        self.likely: dict[int, Scores] = {}
        """Of a likelihood policy the scores of each query whose pool has been read, by its place."""

    def run(self) -> None:
        for place, query in enumerate(self.queries):
            self._wait(place, query.begin())
        while self.written or self.scored:
            if self.reader:
                self._read(self.reader)
            elif len(self.scored) > len(self.written):
                self._score(self._batch(self.scored))
            elif isinstance(self.engine, Streaming):
                self._stream()
            else:
                self._write(self._batch(self.written))

    def _wait(self, place: int, requests: Iterable[Request]) -> None:
        if self.queries[place].ranking:
            made("queries")
        for number, request in enumerate(requests):
            queue = self.scored if request.scored or self.reader else self.written
            heapq.heappush(queue, _Waiting(place, number, request))

    def _batch(self, queue: list[_Waiting], under_way: int = 0) -> list[_Waiting]:
        most = (getattr(self.engine, "batch", 0) or len(queue) + under_way) - under_way
        return [heapq.heappop(queue) for _ in range(min(most, len(queue)))]

    def _write(self, batch: Sequence[_Waiting]) -> None:
        prompts = [waiting.request.prompt for waiting in batch]
        for waiting, completion in zip(
            batch, self.engine.complete(prompts, enough(prompts, self.engine, self.sampling)), strict=True
        ):
            self._wait(waiting.query, self._answer(waiting, completion))

    def _score(self, batch: Sequence[_Waiting]) -> None:
        prompts = [waiting.request.prompt for waiting in batch]
        thoughts = [waiting.request.thought for waiting in batch]
        sampling = (
            enough(prompts, self.engine, self.sampling)
            if thoughts[0] is None
            else replace(self.sampling, max_tokens=thoughts[0])  # one strategy asks for one length
        )
        for waiting, found in zip(batch, scorer(self.engine).score(prompts, sampling), strict=True):
            self._wait(waiting.query, self._answer(waiting, found))

    def _read(self, score: Reader) -> None:
        """Requests of a batch of queries: each query's pool is read with its first."""
        batch = self._batch(self.scored)
        new = list(dict.fromkeys(w.query for w in batch if w.query not in self.likely))
        first = set(new)
        found = score([self.queries[place].given for place in new])
        self.likely.update(zip(new, found, strict=True))
        for waiting in batch:
            own = self.likely[waiting.query]
            call = answered(waiting.request, own, waiting.query in first, self.exclusion)
            first.discard(waiting.query)
            self._wait(waiting.query, self.queries[waiting.query].answered(waiting.number, call))

    def _stream(self) -> None:
        """An engine that answers each question by itself is given the next one as soon as any is answered."""
        assert isinstance(self.engine, Streaming)
        under_way: dict[int, _Waiting] = {}

        def ticket(waiting: _Waiting) -> tuple[int, Prompt]:
            query = self.queries[waiting.query]
            number = waiting.query * MOST_CALLS + len(query.steps) + waiting.number
            under_way[number] = waiting
            return number, waiting.request.prompt

        def then(number: int, completion: Completion) -> list[tuple[int, Prompt]]:
            waiting = under_way.pop(number)
            self._wait(waiting.query, self._answer(waiting, completion))
            return [ticket(one) for one in self._batch(self.written, len(under_way))]

        whole = [Prompt("rank", True, query.given) for query in self.queries]
        sampling = enough(whole, self.engine, self.sampling)  # no later pool is larger
        self.engine.stream([ticket(waiting) for waiting in self._batch(self.written)], sampling, then)

    def _answer(self, waiting: _Waiting, answer: Completion | Scored) -> Sequence[Request]:
        call = (
            scored(waiting.request, answer, self.exclusion)
            if isinstance(answer, Scored)
            else written(waiting.request, answer, self.exclusion, self.tolerant)
        )
        return self.queries[waiting.query].answered(waiting.number, call)
