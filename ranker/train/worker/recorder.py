"""Every rollout of GRPO becomes one episode of one step.

Parts are flushed with checkpoints, so that a resumed run doubles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ranker.metrics.ranking import COLUMNS
from ranker.policy.parsing import Action
from ranker.policy.rewards import Reward
from ranker.strategies.episodes import EPISODES, STEPS, Origin, episode_id


@dataclass(slots=True)
class Rollout:
    """One sampled completion with what it was asked and what it earned."""

    row: dict[str, Any]
    prompt: str
    completion: str
    action: Action
    reward: Reward


@dataclass
class Recorder:
    """Buffers rollouts; `flush(step)` writes them as one part named by the step it reaches to."""

    folder: Path
    origin: Origin
    process: int = 0
    pending: list[Rollout] = field(default_factory=list)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

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
            self._add(
                step,
                place,
                rollout,
                prompt_tokens[place],
                completion_tokens[place],
                advantages[place],
                milliseconds / len(self.pending),
            )
        self.pending.clear()

    def flush(self, step: int) -> None:
        """Write what is buffered, whole or not at all."""
        for name, rows, schema in (("episodes", self.episodes, EPISODES), ("steps", self.steps, STEPS)):
            if rows:
                target = self.folder / f"{name}-{step:08d}-{self.process}.parquet"
                part = target.with_suffix(".part")
                pl.DataFrame(rows, schema=schema).write_parquet(part)
                part.replace(target)
                rows.clear()

    def _add(
        self,
        step: int,
        place: int,
        rollout: Rollout,
        prompt_tokens: int,
        completion_tokens: int,
        advantage: float,
        milliseconds: float,
    ) -> None:
        row, action, reward = rollout.row, rollout.action, rollout.reward
        how = "direct" if row["mode"] == "rank" else "iterative"
        identity = episode_id(self.origin, row["set_id"], how, row["thinking"], step, self.process, place)
        shared = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "milliseconds": milliseconds,
            "reward": reward.total,
        }
        taken = _taken(action, row["pool"], row["mode"])
        ranking = (
            taken
            if row["mode"] == "rank"
            else [*(label for label in row["pool"] if label not in taken), *taken]
        )
        self.episodes.append(
            {
                "episode_id": identity,
                "stage": self.origin.stage,
                "set_id": row["set_id"],
                "task": row["task"],
                "model": self.origin.model,
                "arm": self.origin.arm,
                "strategy": how,
                "thinking": row["thinking"],
                "seed": self.origin.seed,
                "train_step": step,
                "ranking": ranking,
                "pool": list(row["pool"]),
                "calls": 1,
                "invalid_calls": int(not action.valid),
                **shared,
                **dict.fromkeys(COLUMNS),
                "parent_episode": None,
                "from_step": None,
            }
        )
        self.steps.append(
            {
                "episode_id": identity,
                "step": 0,
                "mode": row["mode"],
                "pool": list(row["pool"]),
                "prompt": rollout.prompt,
                "completion": rollout.completion,
                "action": list(action.labels),
                "taken": taken,
                "valid": action.valid,
                "reason": str(action.reason),
                "reward_format": reward.format,
                "reward_task": reward.task,
                "reward_trace": reward.trace,
                "advantage": advantage,
                **shared,
                "model": self.origin.model,
                "strategy": how,
                "seed": self.origin.seed,
            }
        )


def _taken(action: Action, pool: Sequence[str], mode: str) -> list[str]:
    """Labels acted on, with the strategies' stated fallbacks: named labels and then the rest as shown
    (rank), or the one shown last (exclude).
    """
    if mode == "rank":
        return [*action.labels, *(label for label in pool if label not in action.labels)]
    return list(action.labels or pool[-1:])
