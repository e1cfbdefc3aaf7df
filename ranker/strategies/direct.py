"""DRanker: the policy names the whole order in one call."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from ranker.policy.prompts import Ask, Mode
from ranker.strategies.base import Plan, Way
from ranker.strategies.call import Request
from ranker.types import CandidateSet


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
