"""The queue: what it brings together, what it turns away, and what it never begins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from ranker.serving.batcher import Batcher, Full


class Work:
    """Doubles numbers, and remembers its batches; waits in each until it is let on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.let_on, self.begun = threading.Event(), threading.Event()
        self.let_on.set()

    def __call__(self, items: Sequence[int]) -> list[Any]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.let_on.wait(10)
        if -2 in items:
            raise ZeroDivisionError("all of them")
        return [ValueError("this one") if item == -1 else 2 * item for item in items]


def run(test: Callable[[Work, Batcher], Any], **given: Any) -> Work:
    async def within() -> None:
        batcher: Batcher[int, int] = Batcher(
            work, **{"most_waiting": 8, "most_at_once": 4, "linger": 0.01} | given
        )
        answering = asyncio.create_task(batcher.run())
        try:
            await test(work, batcher)
        finally:
            work.let_on.set()
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
            batcher.close()

    work = Work()
    asyncio.run(within())
    return work


async def held(work: Work, batcher: Batcher) -> asyncio.Task[int]:
    """A request that is under way and stays so until it is let on."""
    work.let_on.clear()
    first = asyncio.create_task(batcher.do(100, 10))
    await asyncio.to_thread(work.begun.wait, 10)
    return first


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own() -> None:
    async def together(_: Work, batcher: Batcher) -> None:
        assert await asyncio.gather(*(batcher.do(n, 10) for n in range(3))) == [0, 2, 4]

    assert run(together).batches == [[0, 1, 2]]


def test_what_waits_while_a_batch_is_under_way_is_the_next_in_order() -> None:
    async def waiting(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        others = [asyncio.create_task(batcher.do(n, 10)) for n in range(6)]
        await asyncio.sleep(0)
        assert batcher.depth == 6
        work.let_on.set()
        assert await asyncio.gather(first, *others) == [200, 0, 2, 4, 6, 8, 10]

    assert run(waiting).batches == [[100], [0, 1, 2, 3], [4, 5]]


def test_more_than_may_wait_are_turned_away_at_once() -> None:
    async def full(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        others = [asyncio.create_task(batcher.do(n, 10)) for n in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Full) as turned_away:
            await batcher.do(9, 10)
        assert 1 <= turned_away.value.pause <= 60
        work.let_on.set()
        assert await asyncio.gather(first, *others) == [200, *range(0, 16, 2)]

    assert 9 not in [item for batch in run(full).batches for item in batch]


def test_what_times_out_in_the_queue_is_never_begun() -> None:
    async def late(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        with pytest.raises(TimeoutError):
            await batcher.do(7, 0.05)
        assert batcher.depth == 0
        work.let_on.set()
        assert await first == 200
        assert await batcher.do(8, 10) == 16

    assert run(late).batches == [[100], [8]]


def test_what_times_out_under_way_harms_nobody() -> None:
    async def late(work: Work, batcher: Batcher) -> None:
        work.let_on.clear()
        with pytest.raises(TimeoutError):
            await batcher.do(7, 0.1)
        work.let_on.set()
        assert await batcher.do(8, 10) == 16

    assert run(late).batches == [[7], [8]]


def test_nor_is_one_begun_whose_caller_has_gone() -> None:
    async def gone(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        leaving = asyncio.create_task(batcher.do(7, 10))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        work.let_on.set()
        assert await first == 200

    assert run(gone).batches == [[100]]


def test_an_error_goes_to_whom_it_concerns_and_the_next_batch_is_answered() -> None:
    async def failing(_: Work, batcher: Batcher) -> None:
        one = await asyncio.gather(batcher.do(1, 10), batcher.do(-1, 10), return_exceptions=True)
        assert one[0] == 2 and isinstance(one[1], ValueError)
        every = await asyncio.gather(batcher.do(1, 10), batcher.do(-2, 10), return_exceptions=True)
        assert all(isinstance(error, ZeroDivisionError) for error in every)
        assert await batcher.do(3, 10) == 6

    run(failing)


def test_it_is_idle_when_nothing_waits_and_nothing_is_under_way_for_so_long() -> None:
    async def less_urgent(work: Work, batcher: Batcher) -> None:
        await asyncio.wait_for(batcher.idle(5), 1)  # from the beginning
        first = await held(work, batcher)
        waiting = asyncio.create_task(batcher.idle(0.2))
        second = asyncio.create_task(batcher.do(1, 10))
        await asyncio.sleep(0.3)
        assert not waiting.done() and batcher.depth == 1
        work.let_on.set()
        await asyncio.gather(first, second)
        ended = asyncio.get_running_loop().time()
        assert not waiting.done()
        await waiting
        assert asyncio.get_running_loop().time() - ended > 0.15

    run(less_urgent)


def order(*numbers: int, **given: Any) -> list[list[int]]:
    """The batches of what came in this order behind one that is under way; a number is its own size."""

    async def behind(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        others = []
        for number in numbers:
            others.append(asyncio.create_task(batcher.do(number, 10)))
            await asyncio.sleep(0.02)
        work.let_on.set()
        assert await asyncio.gather(first, *others) == [200, *(2 * number for number in numbers)]

    return run(behind, size=lambda number: number, **given).batches[1:]


def test_small_ones_come_before_large_ones_and_a_batch_has_a_size() -> None:
    assert order(50, 3, 40, 2, most_size=45, most_at_once=3) == [[2, 3, 40], [50]]
    assert order(50, 3, 40, 2, most_size=44, most_at_once=3) == [[2, 3], [40], [50]]
    assert order(50, 60, most_size=10) == [[50], [60]], "what is larger than a batch is one of its own"


def test_what_has_waited_long_enough_comes_first() -> None:
    assert order(50, 3, 2, most_size=50, fair=0.0) == [[50], [3, 2]]
    assert order(9, 3, 2, most_at_once=1, fair=60.0) == [[2], [3], [9]]


def test_what_waits_has_a_size_too() -> None:
    async def too_much(work: Work, batcher: Batcher) -> None:
        first = await held(work, batcher)
        large = asyncio.create_task(batcher.do(50, 10))  # none waits: taken, whatever its size
        await asyncio.sleep(0)
        with pytest.raises(Full) as full:
            await batcher.do(1, 10)
        assert full.value.waiting == 1 and full.value.pause >= 1
        work.let_on.set()
        assert await asyncio.gather(first, large) == [200, 100]
        assert await batcher.do(1, 10) == 2

    run(too_much, size=lambda number: number, most_size_waiting=50)
