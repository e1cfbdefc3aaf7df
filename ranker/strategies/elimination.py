"""IRanker: call by call the policy excludes the worst candidates; the ranking is the reverse order of
exclusion.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from ranker.policy.prompts import Mode, Prompt, without
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request, shown
from ranker.types import CandidateSet

By = Literal["answer", "order", "scores", "grades"]
Drop = PositiveInt | Literal["half"]


class Elimination(Strategy):
    """Exclude until `keep` are left; n − 1 calls at the defaults, ⌈log2 n⌉ with `drop=half` and `by=scores`
    or, where the policy reasons, `by=grades`.

    Survivors keep their order and labels, so that engines find the beginning of a prompt in their cache.
    """

    title: ClassVar[str] = "iterative"
    settles: ClassVar[bool] = True

    drop: Drop = Field(default=1, description="Candidates excluded a call; half leaves the larger half.")
    by: By = Field(
        default="answer",
        description=(
            "answer: the one that the policy names (drop 1 alone); order: the end of the order that it names;"
            " scores: those that it would most likely exclude; grades: those of the lowest grades in its"
            " reasoning, without which one goes a call."
        ),
    )
    keep: PositiveInt = Field(default=1, description="Stop when so many are left: the top so many, as shown.")
    shuffle: bool = Field(default=False, description="Show the survivors in a new order each round.")

    @model_validator(mode="after")
    def _an_answer_excludes_one(self) -> Elimination:
        if self.by == "answer" and self.drop != 1:
            raise ValueError(
                f"an answer excludes one candidate; seen drop={self.drop}: add by=grades, by=scores or"
                " by=order"
            )
        return self

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank" if self.by == "order" else "exclude"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        """One call a round."""
        left, excluded = given, ()
        while len(left) > self.keep:
            left = shown(left, draw.sample(left.labels, len(left))) if self.shuffle else left
            number = min(dropped(self.drop, len(left)), len(left) - self.keep)
            (call,) = yield [
                Request(
                    Prompt("rank" if self.by == "order" else "exclude", thinking, left),
                    self.by == "scores",
                    number,
                    graded=self.by == "grades",
                )
            ]
            left, excluded = without(left, call.taken), (*reversed(call.taken), *excluded)
        return (*left.labels, *excluded)


def dropped(drop: Drop, n: int) -> int:
    """How many of `n` candidates go, at least one of several being left; half leaves the larger half."""
    return n // 2 if drop == "half" else min(drop, n - 1)
