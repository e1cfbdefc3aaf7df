"""Which pools GRPO asks about: besides those drawn beforehand, those that the policy itself reaches, and
others for those that teach nothing.

An elimination that the policy has begun goes on by one exclusion an optimizer step: of a group's completions
the first valid one is acted on, and what it leaves is asked about in a later step. So every pool of an
episode is one that the current policy (one update older) reaches by its own choices, and no completion is
generated for the sake of getting there. An episode ends where its best candidate falls or nothing worse is
left: there every exclusion earns the same.

Groups whose rewards are all alike have no advantage. They are counted with a tolerance (equal rewards such as
1/3 leave a spread of 1e-8) and their prompts replaced by others, a bounded number of times (DAPO's dynamic
sampling, arXiv 2503.14476, section 3.2).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ranker.policy.parsing import Action
from ranker.policy.prompts import Prompt
from ranker.types import CandidateSet, JsonObject

Row = JsonObject
TOLERANCE = 1e-6
WAITING = 512
"""Pools that wait for their turn; beyond these the oldest are forgotten."""


class Episodes:
    """Eliminations under way.

    `share` of the exclusion prompts of a step are replaced by pools that the policy has reached. `render`
    gives a prompt as the model reads it, None where it does not fit: then the one given stays.
    """

    def __init__(
        self,
        sets: Mapping[str, CandidateSet],
        share: float,
        render: Callable[[Prompt], str | None],
        seed: int,
        folder: Path,
        process: int = 0,
    ) -> None:
        self.sets, self.share, self.folder, self.process = sets, share, folder, process
        self.render, self.seed = render, seed
        self.waiting: deque[tuple[str, bool, tuple[str, ...]]] = deque(maxlen=WAITING)

    def start(self, step: int) -> None:
        """Resume at `step`: with the pools that waited when its checkpoint was written."""
        path = self._path(step)
        if step and path.is_file():
            self.waiting.extend(
                (set_id, thinking, tuple(pool))
                for set_id, thinking, pool in json.loads(path.read_text(encoding="utf-8"))
            )

    def flush(self, step: int) -> None:
        """Write the waiting pools beside the checkpoint of `step`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._path(step).with_suffix(".part")
        part.write_text(json.dumps(list(self.waiting)), encoding="utf-8")
        part.replace(self._path(step))

    def substitute(self, groups: Sequence[Row], step: int) -> list[Row]:
        """One row a group: as given, or an elimination's next pool (its whole pool where none waits)."""
        rng = np.random.default_rng([self.seed, step, self.process])
        chosen = rng.random(len(groups)) < self.share
        return [
            self._next(row) if take and row["mode"] == "exclude" else row
            for row, take in zip(groups, chosen, strict=True)
        ]

    def advance(self, row: Row, actions: Sequence[Action]) -> None:
        """Go on from a group's answers, where `row` is one of an elimination and one of them is valid."""
        taken = next((action.labels[0] for action in actions if action.valid), None)
        if not row.get("episode") or taken is None:
            return
        relevance = dict(zip(row["pool"], row["relevance"], strict=True))
        best = max(relevance.values())
        left = tuple(label for label in row["pool"] if label != taken)
        worths = [relevance[label] for label in left]
        if max(worths) == best > min(worths):
            self.waiting.append((row["set_id"], row["thinking"], left))

    def _next(self, row: Row) -> Row:
        set_id, thinking, pool = (
            self.waiting.popleft()
            if self.waiting
            else (row["set_id"], row["thinking"], self.sets[row["set_id"]].labels)
        )
        given = self.sets[set_id].keep(pool)
        text = self.render(Prompt("exclude", thinking, given))
        if text is None:
            return row
        return {
            "task": given.task,
            "set_id": set_id,
            "mode": "exclude",
            "thinking": thinking,
            "prompt": text,
            "pool": list(pool),
            "relevance": [c.relevance for c in given.candidates],
            "episode": True,
        }

    def _path(self, step: int) -> Path:
        return self.folder / f"waiting-{step:08d}-{self.process}.json"


def dead(rewards: Sequence[float], generations: int) -> np.ndarray:
    """Which groups have no spread to learn from: rewards of shape (groups × generations,) → bool
    (groups,).
    """
    grouped = np.asarray(rewards, float).reshape(-1, generations)
    return np.ptp(grouped, axis=1) < TOLERANCE


class Reserve:
    """Prompts to put in a dead group's place: drawn from all rows by step and round, so that a resumed run
    draws the same; `turns` times a step at most.
    """

    def __init__(self, rows: Sequence[Row], seed: int, process: int = 0, turns: int = 1) -> None:
        self.rows, self.seed, self.process, self.turns = rows, seed, process, turns

    def draw(self, n: int, step: int, turn: int) -> list[Row]:
        """`n` rows."""
        rng = np.random.default_rng([self.seed, step, turn, self.process])
        return [self.rows[int(i)] for i in rng.integers(len(self.rows), size=n)]
