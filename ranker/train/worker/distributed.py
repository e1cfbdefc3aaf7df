"""Which of the training's processes this is, and how they wait for one another.

One process waits for nobody.
"""

from __future__ import annotations

import os
from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import gather_object

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: the first one alone builds, merges and writes models meanwhile."""


def rank() -> int:
    """This process's number over all machines, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """All processes of this training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process writes what is written once: models, metrics, the heartbeat."""
    return rank() == 0


def join(cpu: bool) -> None:
    """Meet the other processes, before the first `wait`."""
    if count() > 1:
        PartialState(cpu=cpu, timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes, after the last `wait`. A process that ends without it may be aborted
    while Python shuts down: gloo's threads still hold tensors then (pytorch pull request 179291), and the
    launcher takes the whole training for failed.
    """
    if count() > 1:
        PartialState().destroy_process_group()


def wait() -> None:
    """Return once every process has come here. All processes must call it equally often."""
    if count() > 1:
        PartialState().wait_for_everyone()


def agreed(condition: bool) -> bool:
    """`condition`, once every process has looked: what they look at does not change before all have."""
    wait()
    return condition


def anywhere(condition: bool) -> bool:
    """Whether `condition` holds in any process. All processes must call it equally often."""
    return any(gather_object([bool(condition)])) if count() > 1 else bool(condition)
