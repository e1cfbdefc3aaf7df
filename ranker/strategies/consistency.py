"""Permutation self-consistency (Tang et al. 2024): the same pool in several shuffled orders, and a vote over
what comes of each.

What a policy says because of where a candidate stands is said of another candidate in another shuffle, and
averages out.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request, shown
from ranker.types import CandidateSet


class Consistency(Strategy):
    """`shuffles` calls, all in one round; candidates by their mean place (Borda), equal ones as shown. The
    first order is the one shown.
    """

    title: ClassVar[str] = "consistency"

    shuffles: int = Field(default=5, ge=1, description="Orders in which the pool is shown.")
    by: Literal["answer", "scores"] = Field(
        default="answer",
        description=(
            "answer: the order that the policy names; scores: the less likely excluded, the better"
            " (first-token)."
        ),
    )

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank" if self.by == "answer" else "exclude"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        orders = [given.labels, *(draw.sample(given.labels, len(given)) for _ in range(self.shuffles - 1))]
        pools = [shown(given, order) for order in orders]
        if self.by == "answer":
            calls = yield [Request(Prompt("rank", thinking, pool)) for pool in pools]
        else:
            calls = yield [Request(Prompt("exclude", thinking, pool), True, len(pool)) for pool in pools]
        named = [call.taken if self.by == "answer" else call.taken[::-1] for call in calls]
        return tuple(sorted(given.labels, key=lambda label: sum(order.index(label) for order in named)))
