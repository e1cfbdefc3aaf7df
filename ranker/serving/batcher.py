"""Concurrent requests in one call: a bounded queue, and one worker thread that takes all that wait.

All state lives on the event loop; only the work itself runs in the thread. While a batch is ranked the next
one gathers, so the batch grows with the load. A batch that is not full waits `linger` seconds for more before
it begins.

A batch is bounded by size, too, and the smallest come first: a small request waits for one batch and not for
all large ones before it. One that has waited for `fair` seconds comes before all that have not.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
LONGEST_PAUSE = 60
"""Seconds: no client is told to stay away for longer."""
_SMOOTHING = 0.2
"""Weight of the latest batch in the mean seconds per request."""


class Full(Exception):
    """So many requests wait, or such large ones, that no more are taken; `pause` is how many seconds those
    before will take, as far as can be told.
    """

    def __init__(self, waiting: int, pause: int) -> None:
        super().__init__(f"the queue is full; try again in {pause} s")
        self.waiting, self.pause = waiting, pause


@dataclass(eq=False)
class _Waiting(Generic[T, R]):
    item: T
    size: int
    since: float
    done: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher(Generic[T, R]):
    """`work` answers a batch: one result per item, in order; a result that is an exception is raised to its
    caller.

    Args:
        most_waiting: requests in the queue, those under way not counted.
        most_at_once: requests in one batch.
        linger: seconds that a batch which is not full waits for more.
        size: of an item, in whatever unit; 1 unless given.
        most_size: of all items of one batch. A larger item is a batch of its own.
        most_size_waiting: of all that wait. A larger item is taken where none waits.
        fair: seconds that an item may be behind smaller ones.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        most_waiting: int,
        most_at_once: int,
        linger: float = 0.005,
        size: Callable[[T], int] = lambda _: 1,
        most_size: float = math.inf,
        most_size_waiting: float = math.inf,
        fair: float = 15.0,
    ) -> None:
        self._size, self.most_size, self.most_size_waiting, self.fair = (
            size,
            most_size,
            most_size_waiting,
            fair,
        )
        self._work, self.most_waiting, self.most_at_once, self.linger = (
            work,
            most_waiting,
            most_at_once,
            linger,
        )
        self._queue: deque[_Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ranking")
        self._each = 0.0
        """Seconds per request, smoothed."""
        self._busy, self._latest = False, -math.inf
        """Whether a batch is under way; when the latest ended."""

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def require_room(self, size: int = 0) -> None:
        """Raises Full where another request, of this size, would find no place."""
        waiting = sum(one.size for one in self._queue)
        too_much = bool(self._queue) and waiting + size > self.most_size_waiting
        if too_much or len(self._queue) >= self.most_waiting:
            raise Full(len(self._queue), min(max(1, math.ceil(self._each * len(self._queue))), LONGEST_PAUSE))

    async def do(self, item: T, timeout: float) -> R:
        """The result for `item`, within `timeout` seconds. One that was not begun by then, or whose caller
        has gone, never is.

        Raises:
            Full: as many wait as may.
            TimeoutError: no result came in time.
            What `work` raised, or gave as this item's result.
        """
        size = self._size(item)
        self.require_room(size)
        waiting: _Waiting[T, R] = _Waiting(item, size, asyncio.get_running_loop().time())
        self._queue.append(waiting)
        self._arrived.set()
        try:
            async with asyncio.timeout(timeout):
                return await waiting.done
        finally:
            with suppress(ValueError):  # a batch has taken it
                self._queue.remove(waiting)

    async def idle(self, seconds: float) -> None:
        """Returns when for so long no request has waited or been under way: what is less urgent may begin."""
        loop = asyncio.get_running_loop()
        while (left := self._latest + seconds - loop.time()) > 0 or self._busy or self._queue:
            await asyncio.sleep(left if left > 0 else seconds)

    async def run(self) -> None:
        """Answer what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._gathered()
            batch = self._taken()
            if not self._queue:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    def _taken(self) -> list[_Waiting[T, R]]:
        """The next batch, out of the queue."""
        overdue = asyncio.get_running_loop().time() - self.fair
        order = sorted(
            self._queue, key=lambda one: (0, one.since) if one.since <= overdue else (1, one.size, one.since)
        )
        batch: list[_Waiting[T, R]] = []
        size = 0
        for one in order[: self.most_at_once]:
            size += one.size
            if batch and size > self.most_size:
                break
            batch.append(one)
        for one in batch:
            self._queue.remove(one)
        return batch

    async def _gathered(self) -> None:
        if self.linger and len(self._queue) < self.most_at_once:
            await asyncio.sleep(self.linger)

    async def _answer(self, batch: Sequence[_Waiting[T, R]]) -> None:
        loop = asyncio.get_running_loop()
        began, self._busy = loop.time(), True
        # gathered: whatever the work raises goes to those who wait for it, and the next batch is taken all
        # the same
        (outcome,) = await asyncio.gather(
            loop.run_in_executor(self._thread, self._work, [waiting.item for waiting in batch]),
            return_exceptions=True,
        )
        self._busy, self._latest = False, loop.time()
        each = (self._latest - began) / len(batch)
        self._each = each if not self._each else (1 - _SMOOTHING) * self._each + _SMOOTHING * each
        results: Sequence[object] = [outcome] * len(batch) if isinstance(outcome, BaseException) else outcome
        for waiting, result in zip(batch, results, strict=True):
            _settle(waiting.done, result)

    def close(self) -> None:
        """Wait for the batch under way; nothing runs afterwards."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _settle(done: asyncio.Future[Any], result: object) -> None:
    if done.done():  # its caller has timed out
        return
    if isinstance(result, BaseException):
        done.set_exception(result)
    else:
        done.set_result(result)
