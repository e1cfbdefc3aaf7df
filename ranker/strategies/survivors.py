"""Elimination down to few survivors, which one direct call then orders: cheap where the pool is long,
careful at the top.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from pydantic import Field, model_validator

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request
from ranker.strategies.elimination import By, Drop, Elimination
from ranker.types import CandidateSet


class Survivors(Strategy):
    """n − keep calls and one more at the defaults."""

    title: ClassVar[str] = "survivors"
    settles: ClassVar[bool] = True

    keep: int = Field(default=5, ge=2, description="Candidates that the direct call orders.")
    drop: Drop = Field(default=1, description="As in iterative.")
    by: By = Field(default="answer", description="As in iterative.")

    @model_validator(mode="after")
    def _can_eliminate(self) -> Survivors:
        self.elimination()
        return self

    def elimination(self) -> Elimination:
        """What goes before the direct call."""
        return Elimination(drop=self.drop, by=self.by, keep=self.keep)

    @property
    def modes(self) -> frozenset[Mode]:
        last: frozenset[Mode] = frozenset({"rank"})
        return self.elimination().modes | last

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        order = yield from self.elimination().plan(given, thinking, draw)
        top = given.keep(order[: self.keep])
        (call,) = yield [Request(Prompt("rank", thinking, top))]
        return (*call.taken, *order[len(top) :])
