"""How far a phase of training is, told through the heartbeat."""

from __future__ import annotations

import time

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ranker.train.worker.heartbeat import Heartbeat


def remaining(seconds: float) -> str:
    """Time that is left, as people are told it."""
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


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
        left = each * (state.max_steps - state.global_step)
        self.heartbeat.beat(
            f"{self.phase} step {state.global_step} of {state.max_steps}"
            + (f": {figures}" if figures else "")
            + f"; {remaining(left)}"
        )
