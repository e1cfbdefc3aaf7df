"""Signs of life for the watching flow, and the trainer's own watch over that flow.

Imports nothing that takes time: the first sign comes before torch, transformers and trl are loaded.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import psutil

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
