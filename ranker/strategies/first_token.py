"""The whole order from one forward pass: how likely each label is as the answer's first token (FIRST,
Reddy et al. 2024).
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from pydantic import Field

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request
from ranker.types import CandidateSet


class FirstToken(Strategy):
    """One call per query, which writes nothing but the reasoning that may be asked for."""

    title: ClassVar[str] = "first-token"

    mode: Mode = Field(
        default="exclude",
        description=(
            "exclude: the less likely excluded, the better; rank: the more likely named first, the better."
        ),
    )

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({self.mode})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        take = len(given) if self.mode == "exclude" else 0
        (call,) = yield [Request(Prompt(self.mode, thinking, given), True, take)]
        return tuple(reversed(call.taken)) if self.mode == "exclude" else call.taken
