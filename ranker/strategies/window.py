"""Listwise ranking of pools longer than a prompt: a window slides from the end to the front, each ordered in
one call.

RankGPT's method (Sun et al. 2023) with the defaults of rank_llm. One pass brings the best `size − step`
candidates to the front if every window is ordered right; what is below them is only partly ordered.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request, first_stage_order, shown
from ranker.types import CandidateSet


class Window(Strategy):
    """⌈(n − size) / step⌉ + 1 calls a pass; one where the pool fits the window."""

    title: ClassVar[str] = "window"

    size: int = Field(default=20, ge=2, description="Candidates in a window.")
    step: int = Field(default=10, ge=1, description="Places that the window moves on; less than size.")
    passes: int = Field(
        default=1, ge=1, description="Passes over the pool; each brings size − step more into place."
    )
    by: Literal["answer", "scores"] = Field(
        default="answer",
        description=(
            "answer: the order that the policy names; scores: how likely it names each first (FIRST, Reddy et"
            " al. 2024)."
        ),
    )

    start: Literal["shown", "retrieved"] = Field(
        default="shown",
        description=(
            "The order that the windows begin with: as shown (shuffled), or that of the first stage, as"
            " rank_llm has it."
        ),
    )

    @model_validator(mode="after")
    def _windows_overlap(self) -> Window:
        if self.step >= self.size:
            raise ValueError(
                f"windows must overlap: step below size; seen size={self.size}, step={self.step}"
            )
        return self

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"rank"})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        retrieved = self.start == "retrieved"
        order = list(first_stage_order(given) if retrieved else given.labels)
        for _ in range(self.passes):
            for start, end in windows(len(order), self.size, self.step):
                prompt = Prompt("rank", thinking, shown(given, order[start:end]))
                (call,) = yield [Request(prompt, self.by == "scores", standing=retrieved)]
                order[start:end] = call.taken
        return tuple(order)


def windows(n: int, size: int, step: int) -> list[tuple[int, int]]:
    """Bounds of the windows over `n` places, the last first; the one at the front is the last and may be
    shorter.
    """
    ends = list(range(n, min(size, n) - 1, -step))
    bounds = [(max(end - size, 0), end) for end in ends]
    return bounds if bounds[-1][0] == 0 else [*bounds, (0, ends[-1] - step)]
