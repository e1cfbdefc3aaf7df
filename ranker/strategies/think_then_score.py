"""Think, then score: a reasoning is written, and behind it every label is scored, so that no answer can be
invalid.

Written a piece at a time, the reasoning is scored after each piece: what more of it is worth stands in the
steps, and it may stop where the ranking no longer changes.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from pydantic import Field, model_validator

from ranker.engines.grammar import OPEN, SHUT
from ranker.policy.prompts import Mode, Prompt
from ranker.strategies.base import Plan, Strategy
from ranker.strategies.call import Request
from ranker.types import CandidateSet


class ThinkThenScore(Strategy):
    """One call a piece of the reasoning, one where it is written at once. Without reasoning it is
    `first-token`.
    """

    title: ClassVar[str] = "think-then-score"

    mode: Mode = Field(default="exclude", description="As in first-token.")
    tokens: int = Field(
        default=24, ge=0, description="Tokens of reasoning at most; 0 scores behind an empty one."
    )
    every: int = Field(
        default=0, ge=0, description="Tokens after which the labels are scored; 0 does so at the end alone."
    )
    stop: int = Field(
        default=0,
        ge=0,
        description="Thinking ends where so many pieces in a row left the ranking as it was; 0 never.",
    )

    @model_validator(mode="after")
    def _pieces_fit(self) -> ThinkThenScore:
        if self.every and self.tokens % self.every:
            raise ValueError(
                f"tokens must be a multiple of every; seen tokens={self.tokens}, every={self.every}"
            )
        if self.stop and not self.every:
            raise ValueError(f"stop needs pieces: every above 0; seen stop={self.stop}, every=0")
        return self

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({self.mode})

    def plan(self, given: CandidateSet, thinking: bool, draw: Random) -> Plan:
        take = len(given) if self.mode == "exclude" else 0
        if not thinking:
            (call,) = yield [Request(Prompt(self.mode, False, given), True, take)]
            return self._best_first(call.taken)
        thought, last, alike = OPEN, (), 0
        piece = self.every or self.tokens
        for _ in range(self.tokens // piece if piece else 1):
            prompt = Prompt(self.mode, True, given, begun=thought)
            (call,) = yield [Request(prompt, True, take, thought=piece)]
            alike = alike + 1 if call.taken == last else 0
            last, thought = call.taken, thought + call.completion
            if thought.endswith(SHUT) or (self.stop and alike >= self.stop):
                break
        return self._best_first(last)

    def _best_first(self, taken: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(reversed(taken)) if self.mode == "exclude" else taken
