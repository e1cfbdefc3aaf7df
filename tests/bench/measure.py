"""One part of the benchmark in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ranker.refs import PROJECT


def apart(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m tests.bench.<module>` printed as JSON on its last line, with `peak_mib` and `wall_s` of the process.

    Raises:
        RuntimeError: the part failed; its output was shown.
    """
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {printed[-2_000:]}")
    return {**json.loads(printed.splitlines()[-1]), "peak_mib": usage.ru_maxrss / 1024}
