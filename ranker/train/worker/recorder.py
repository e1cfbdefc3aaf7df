"""Every rollout of GRPO becomes one episode of one step.

Parts are flushed with checkpoints, so that a resumed run doubles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import polars as pl

from ranker.policy.parsing import Action
from ranker.policy.prompts import Mode
from ranker.policy.rewards import Reward
from ranker.strategies import episodes
from ranker.strategies.call import Call, acted_on
from ranker.strategies.episodes import Entry, Origin
from ranker.types import Episode


class Asked(TypedDict):
    """Of a prompt's row in `rl.parquet`, what an episode says of it."""

    set_id: str
    task: str
    mode: Mode
    thinking: bool
    pool: list[str]


@dataclass(slots=True)
class Rollout:
    """One sampled completion with what it was asked and what it earned."""

    row: Asked
    prompt: str
    """As rendered for the model."""
    completion: str
    action: Action
    reward: Reward
    scores: tuple[float, ...] = ()
    """Log-probabilities of the labels as shown, where they were scored behind the completion."""


@dataclass
class Recorder:
    """Buffers rollouts; `flush(step)` writes them as one part named by the step it reaches to."""

    folder: Path
    origin: Origin
    process: int = 0
    pending: list[Rollout] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def start(self, step: int) -> None:
        """Resume at `step`: parts that reach further belong to steps that will be done again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.parquet"):
            if int(path.stem.split("-")[1]) > step:
                path.unlink(missing_ok=True)  # by another process

    def settle(
        self,
        step: int,
        prompt_tokens: Sequence[int],
        completion_tokens: Sequence[int],
        advantages: Sequence[float],
        milliseconds: float,
    ) -> None:
        """Complete the pending rollouts of one generation round with what only the trainer knows."""
        for place, rollout in enumerate(self.pending):
            call = _call(
                rollout, prompt_tokens[place], completion_tokens[place], milliseconds / len(self.pending)
            )
            self.entries.append(
                Entry(
                    _episode(rollout.row, call),
                    self.origin,
                    rollout.row["task"],
                    call.pool,
                    more=(step, self.process, place),
                    rollout=episodes.Rollout(step, (advantages[place],)),
                )
            )
        self.pending.clear()

    def flush(self, step: int) -> None:
        """Write what is buffered, whole or not at all."""
        if not self.entries:
            return
        written = episodes.tables(self.entries)
        self._part("episodes", step, written["episodes"])
        self._part("steps", step, written["steps"])
        self.entries.clear()

    def _part(self, name: str, step: int, rows: pl.DataFrame) -> None:
        target = self.folder / f"{name}-{step:08d}-{self.process}.parquet"
        part = target.with_suffix(".part")
        rows.write_parquet(part)
        part.replace(target)


def _call(rollout: Rollout, prompt_tokens: int, completion_tokens: int, milliseconds: float) -> Call:
    """The rollout as a strategy would have made it: unconstrained, and TRL tells of no prefix cache."""
    row, action, earned = rollout.row, rollout.action, rollout.reward
    return Call(
        step=0,
        pool=tuple(row["pool"]),
        prompt=rollout.prompt,
        completion=rollout.completion,
        action=action.labels,
        taken=acted_on(action, row["pool"], row["mode"]),
        valid=action.valid,
        reason=str(action.reason),
        reward=earned.total,
        reward_parts=earned.parts,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        milliseconds=milliseconds,
        mode=row["mode"],
        scores=rollout.scores,
    )


def _episode(row: Asked, call: Call) -> Episode:
    """One decision: an order, or one label excluded and the others as shown."""
    if row["mode"] == "rank":
        return Episode(row["set_id"], "direct", row["thinking"], call.taken, (call,))
    left = tuple(label for label in call.pool if label not in call.taken)
    return Episode(row["set_id"], "iterative", row["thinking"], (*left, *call.taken), (call,))
