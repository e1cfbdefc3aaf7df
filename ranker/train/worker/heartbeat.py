"""Signs of life for the watching flow, and the trainer's own watch over that flow."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import psutil
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

OWNER_POLL_SECONDS = 1.0


class Heartbeat:
    """Writes the heartbeat file, whole or not at all.

    Of several processes the first one speaks (`silent` in the others).
    """

    def __init__(self, path: Path, silent: bool = False) -> None:
        self.path, self.silent = path, silent

    def beat(self, text: str) -> None:
        """Say what is going on."""
        if self.silent:
            return
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"at": time.time(), "text": text, "pid": os.getpid()}), encoding="utf-8")
        part.replace(self.path)


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


def follow_owner() -> None:
    """End this process when the flow or the launcher that started it is gone: SIGKILL to them reaches no
    grandchild.
    """
    owner = os.environ.get("RANKER_OWNER", "")
    if owner:
        pid, created = owner.split(":")
        threading.Thread(
            target=_follow, args=(int(pid), float(created), os.getppid()), daemon=True, name="owner-watch"
        ).start()


def _follow(pid: int, created: float, launcher: int) -> None:
    while _alive(pid, created) and os.getppid() == launcher:
        time.sleep(OWNER_POLL_SECONDS)
    os._exit(3)  # no clean-up on purpose: checkpoints count only once marked complete


def _alive(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
