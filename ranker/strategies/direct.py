"""DRanker: the policy names the whole order in one call."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request
from ranker.types import CandidateSet


class Direct(Strategy):
    """One call per query."""

    title: ClassVar[str] = "direct"
    settles: ClassVar[bool] = True

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        (call,) = yield [Request(Prompt("rank", thinking, given))]
        return call.taken
