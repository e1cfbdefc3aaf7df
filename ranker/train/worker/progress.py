"""How far a phase of training is, told through the heartbeat."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ranker.progress import rate, remaining
from ranker.train.curves import lines
from ranker.train.worker.heartbeat import Heartbeat
from ranker.types import JsonObject


class HeartbeatCallback(TrainerCallback):
    """Beats at every optimizer step, with the newest logged figures."""

    def __init__(self, heartbeat: Heartbeat, phase: str) -> None:
        self.heartbeat, self.phase = heartbeat, phase
        self.began, self.first = time.monotonic(), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer."""
        self.began, self.first = time.monotonic(), state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer."""
        if not state.is_world_process_zero:
            return
        newest = state.log_history[-1] if state.log_history else {}
        figures = ", ".join(
            f"{name} {newest[name]:.3f}"
            for name in ("loss", "reward", "frac_reward_zero_std", "eval_rr")
            if name in newest
        )
        each = (time.monotonic() - self.began) / (state.global_step - self.first)
        left, pace = each * (state.max_steps - state.global_step), rate(1 / max(each, 1e-9))
        self.heartbeat.beat(
            f"{self.phase} step {state.global_step} of {state.max_steps}"
            + (f": {figures}" if figures else "")
            + f"; {pace}, {remaining(left)}"
        )


class CurveFile(TrainerCallback):
    """Writes what the trainer logs as it comes (ranker/train/curves.py), for whoever watches."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, step: int) -> None:
        """Resume at `step`: what was logged beyond it will be again."""
        kept = [row for row in lines(self.path) if row["step"] <= step] if step else []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: JsonObject | None = None,
        **kwargs: object,
    ) -> None:
        """Called by the trainer."""
        if not state.is_world_process_zero:
            return
        numbers = {
            name: float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**numbers, "step": state.global_step}) + "\n")
