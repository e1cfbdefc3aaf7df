"""Elimination that thinks only where it is in doubt: a pass without reasoning first, and reasoning where
its margin is small.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from pydantic import Field

from ranker.policy.prompts import Mode, Prompt, without
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request
from ranker.strategies.elimination import Drop, dropped
from ranker.types import CandidateSet


class AdaptiveThinking(Strategy):
    """n − 1 to 2 (n − 1) calls at the defaults, of which only the doubtful ones write anything.

    The margin is how much more likely the last candidate that would go is to be excluded than the first that
    would stay. Without reasoning (`thinking` off) there is nothing to gate, and it is `iterative:by=scores`.
    """

    title: ClassVar[str] = "gate"
    settles: ClassVar[bool] = True

    margin: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Between two probabilities; a smaller one lets the policy reason. 0 never does, above 1 − 1/n"
            " nearly always."
        ),
    )
    drop: Drop = Field(default=1, description="As in iterative.")

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"exclude"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        left, excluded = given, ()
        while len(left) > 1:
            number = dropped(self.drop, len(left))
            (call,) = yield [
                Request(Prompt("exclude", False, left), True, number, self.margin if thinking else 0.0)
            ]
            if not call.taken:
                (call,) = yield [Request(Prompt("exclude", True, left), number > 1, number)]
            left, excluded = without(left, call.taken), (*reversed(call.taken), *excluded)
        return (*left.labels, *excluded)
