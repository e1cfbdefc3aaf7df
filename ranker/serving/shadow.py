"""The shadow: a second model that ranks what the first has answered, so that both can be compared on live
requests before it becomes champion.

It cannot touch an answer. A request is offered to it when its answer is made; it waits in a queue of its own,
and is dropped where that is full. The shadow ranks one request at a time, in a thread of its own (an endpoint
that hangs must not hold the one that answers), and begins only when no request waits or is under way. What it
has begun it brings to its end: a request that comes meanwhile is answered at once and shares the processor
with it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ranker.config import RetrainParams
from ranker.serving.episodes import episodes
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import ADDRESS, Models, Pointer, finder
from ranker.serving.ranking import Ranked
from ranker.serving.request_log import RequestLog, shadow_record
from ranker.serving.settings import How
from ranker.types import CandidateSet, JsonObject

log = logging.getLogger("ranker.serving")
QUIET = 0.05
"""Seconds without a request before the shadow begins: it does not meet a client that asks without a pause."""
_ALIAS = re.compile(r"[\w.-]+")


def address(shadow: str, model: str, params: RetrainParams) -> str:
    """What `--shadow` names, as `--model` takes it: a single word is an alias of the registered model that
    serves. A folder of one word is written with a slash (./policy).
    """
    if not _ALIAS.fullmatch(shadow):
        return shadow
    name = registered_name(model) or params.register_.name
    return f"{ADDRESS}{name}@{shadow}"


def registered_name(model: str) -> str:
    """The name in an address of a registered model; empty for a folder or an endpoint.

    Raises:
        BadConfig: it begins like such an address and is none.
    """
    from ranker.stages import registry

    return registry.parsed(model)["name"] if model.startswith(ADDRESS) else ""


def shadow_finder(model: str, params: RetrainParams) -> Callable[[], Pointer | None]:
    """As models.finder, but a folder is looked at each time: one that is gone must not keep a server from
    starting.

    Raises:
        BadConfig: no address of a registered model.
    """
    registered_name(model)
    return lambda: finder(model, params)()


@dataclass(frozen=True, slots=True)
class Offered:
    """A request with its answer."""

    given: CandidateSet
    answered: Ranked
    logged: bool
    """Whether the request log has it: else what the shadow makes of it is not logged either."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What the shadow made of a request."""

    ranked: Ranked
    milliseconds: float


class Shadow:
    """Ranks what the model that serves has answered.

    Args:
        models: the shadow's own, with `besides` so that what serves is not loaded twice.
        how: how it ranks.
        idle: returns when for so many seconds no request has waited or been under way.
        most: requests that may wait.
        request_log: where its rankings go; None for nowhere.
    """

    def __init__(
        self,
        models: Models,
        how: How,
        idle: Callable[[float], Awaitable[None]],
        metrics: ServingMetrics,
        *,
        most: int,
        request_log: RequestLog | None = None,
    ) -> None:
        self.models, self._how, self._idle, self._metrics = models, how, idle, metrics
        self._request_log = request_log
        self._waiting: asyncio.Queue[Offered] = asyncio.Queue(most)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._failure, self._asked = "", 0

    @property
    def state(self) -> JsonObject:
        """What /health says of it, but why it does not rank."""
        loaded = self.models.current
        return {
            "model": loaded.pointer.name if loaded else None,
            "version": loaded.pointer.version if loaded else None,
            "ranks": loaded is not None,
            "same": self.models.same,
        }

    @property
    def trouble(self) -> str:
        """Why it does not rank, or what went wrong with the latest request; empty where nothing did."""
        return self.models.trouble or self._failure

    def offer(self, given: CandidateSet, answered: Ranked, logged: bool) -> None:
        """A request that was answered. Returns at once, whatever becomes of it.

        Args:
            logged: whether the request log has the request.
        """
        loaded = self.models.current
        if loaded is None or loaded.pointer == answered.by.pointer:
            return
        try:
            self._waiting.put_nowait(Offered(given, answered, logged))
        except asyncio.QueueFull:
            self._metrics.shadowed("dropped")

    async def follow(self, serving: Models, every: float) -> None:
        """Load it, and look for another each `every` seconds, until cancelled; the model that answers is
        loaded before it.
        """
        while serving.current is None:
            await asyncio.sleep(QUIET)
        await self.models.follow(every)

    async def run(self) -> None:
        """Rank what was offered, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            one = await self._waiting.get()
            await self._idle(QUIET)
            # gathered: whatever goes wrong is counted, and the next one is ranked all the same
            (outcome,) = await asyncio.gather(
                loop.run_in_executor(self._thread, self._ranked, one), return_exceptions=True
            )
            self._settle(one, outcome)

    def _ranked(self, one: Offered) -> Shadowed | None:
        """None where by now there is no shadow, or what answered is it."""
        loaded = self.models.current
        if loaded is None or loaded.pointer == one.answered.by.pointer:
            return None
        began = time.perf_counter()
        (episode,) = episodes([one.given], loaded.engine, self._how)
        return Shadowed(Ranked(episode, loaded), 1000 * (time.perf_counter() - began))

    async def at_once(self, given: CandidateSet, answered: Ranked, left: float) -> Shadowed | None:
        """Its ranking for an answer that waits for it. None, and the answer goes without, where there is no
        shadow, it fails, too many wait for it, or it takes longer than `left` seconds.
        """
        loaded = self.models.current
        if loaded is None or loaded.pointer == answered.by.pointer:
            return None
        if self._asked >= self._waiting.maxsize:
            self._metrics.shadowed("dropped")
            return None
        one, self._asked = Offered(given, answered, True), self._asked + 1
        try:
            ranking = asyncio.get_running_loop().run_in_executor(self._thread, self._ranked, one)
            (outcome,) = await asyncio.gather(asyncio.wait_for(ranking, left), return_exceptions=True)
        finally:
            self._asked -= 1
        if isinstance(outcome, BaseException):
            self._failed(outcome)
            return None
        if outcome is not None:
            self._counted(one, outcome)
        return outcome

    def _settle(self, one: Offered, outcome: Shadowed | BaseException | None) -> None:
        if outcome is None:
            return
        if isinstance(outcome, BaseException):
            self._failed(outcome)
            return
        self._counted(one, outcome)
        if one.logged:
            self.write(one.given, outcome)

    def _counted(self, one: Offered, outcome: Shadowed) -> None:
        self._failure = ""
        agrees = outcome.ranked.episode.ranking[0] == one.answered.episode.ranking[0]
        self._metrics.shadowed("ranked", agrees=agrees)

    def write(self, given: CandidateSet, outcome: Shadowed) -> None:
        """Into the request log, which has the request."""
        if self._request_log:
            pointer = outcome.ranked.by.pointer
            line = shadow_record(
                given,
                outcome.ranked.episode,
                milliseconds=outcome.milliseconds,
                model=pointer.identity,
                version=pointer.version,
            )
            self._metrics.logged(self._request_log.add(line))

    def _failed(self, error: BaseException) -> None:
        self._metrics.shadowed("failed")
        if not self._failure:  # the same fault may come with every request
            log.warning("the shadow could not rank a request; its answer was given: %s", error)
        self._failure = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Nothing more is begun. What is under way ends by itself, and is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.models.close()
