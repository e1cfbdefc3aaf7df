"""DRanker: the policy names the whole order in one call."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from ranker.prompts import Ask, Mode
from ranker.sets import CandidateSet
from ranker.strategies.call import Request
from ranker.strategies.plan import Plan, Way


class Direct(Way):
    """One call per query."""

    title: ClassVar[str] = "direct"
    settles: ClassVar[bool] = True

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        (call,) = yield [Request(Ask("rank", thinking, given))]
        return call.taken
