"""One part of the benchmark in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ranker.refs import PROJECT

REPEATS, LONG = 3, 20.0
"""A run is timed so often, but not again once it has taken so many seconds."""


class PartFailed(RuntimeError):
    """A part's own process has failed, and has shown why."""


def apart(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m benchmarks.<module>` printed as JSON on its last line, with `peak_mib` of the process.

    Raises:
        PartFailed: see there.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise PartFailed(f"{' '.join(command)} ended with {process.returncode}: {printed[-2_000:]}")
    return {**json.loads(printed.splitlines()[-1]), "peak_mib": usage.ru_maxrss / 1024}


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Filled at the end: `seconds` by the wall, and `cpu`, this process's processor time, which neighbours
    on a busy machine leave nearly alone.
    """
    taken: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield taken
    finally:
        taken |= {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def figures(taken: dict[str, float]) -> str:
    """A time as the table gives it."""
    return f"{taken['seconds']:.1f} s (processor {taken['cpu']:.1f} s)"
