"""Heapsort whose comparisons are model calls over a node and its children (setwise, Zhuang et al.

2024): the top few for few calls.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Call, Request, shown
from ranker.types import CandidateSet

Sift = Generator[Sequence[Request], list[Call], None]


class Setwise(Strategy):
    """At most ⌈n / children⌉ calls a level to build the heap, and ⌈log_children n⌉ for each candidate taken
    from it.

    A written answer orders a node and its children (mode rank) and the best goes up; by `exclude` the worst
    goes up instead, and the ranking is made from its end, so that all n are taken; by `scores` the one least
    likely excluded goes up. What is not among the `top` follows as the heap holds it.
    """

    title: ClassVar[str] = "setwise"

    children: int = Field(default=3, ge=2, description="Of a node; a call compares children + 1 candidates.")
    top: int = Field(default=10, ge=1, description="Stop when so many are ordered; by exclude all are.")
    by: Literal["answer", "exclude", "scores"] = "answer"

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank" if self.by == "answer" else "exclude"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        heap = list(given.labels)
        taken: list[str] = []
        for root in range((len(heap) - 2) // self.children, -1, -1):
            yield from self._sift(given, thinking, heap, root)
        while len(heap) > 1 and (self.by == "exclude" or len(taken) < self.top):
            taken.append(heap[0])
            heap[0] = heap[-1]
            heap.pop()
            yield from self._sift(given, thinking, heap, 0)
        return tuple([*heap, *reversed(taken)] if self.by == "exclude" else [*taken, *heap])

    def _sift(self, given: CandidateSet, thinking: bool, heap: list[str], root: int) -> Sift:
        """Let the label at `root` sink until none of its children belongs above it."""
        while (first := self.children * root + 1) < len(heap):
            places = [root, *range(first, min(first + self.children, len(heap)))]
            (call,) = yield [self._request(shown(given, [heap[place] for place in places]), thinking)]
            up = heap.index(call.taken[-1] if self.by == "scores" else call.taken[0])
            if up == root:
                return
            heap[root], heap[up] = heap[up], heap[root]
            root = up

    def _request(self, pool: CandidateSet, thinking: bool) -> Request:
        (mode,) = self.modes
        scored = self.by == "scores"
        return Request(Prompt(mode, thinking, pool), scored, len(pool) if scored else 0)
