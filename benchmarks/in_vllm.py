"""What the parts share that run in the environment of `make test-vllm`: their start from this one, and one
timed run there.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ranker.engines import Engine, Sampling
from ranker.policy.prompts import longest_trace
from ranker.refs import PROJECT
from ranker.strategies import strategy
from ranker.types import CandidateSet

PYTHON = PROJECT / ".venv-vllm" / "bin" / "python"
SECONDS = 1_800
"""What one process may take."""


def python() -> str:
    """The interpreter beside vLLM.

    Raises:
        FileNotFoundError: there is no environment with vLLM.
    """
    if not PYTHON.exists():
        raise FileNotFoundError(
            f"no {PYTHON.relative_to(PROJECT)}: `make test-vllm` makes the environment with vLLM"
        )
    return str(PYTHON)


def ran(module: str, *arguments: str, result: Path, beside: Sequence[Path] = ()) -> dict[str, Any]:
    """What `python -m benchmarks.<module> <arguments> <result>` wrote to `result` as JSON; its output lies
    beside it, as .log.

    `beside` are folders to import from after the project's.

    Raises:
        FileNotFoundError, RuntimeError, subprocess.TimeoutExpired: it could not be run; says why.
    """
    command = [python(), "-m", f"benchmarks.{module}", *arguments, str(result)]
    path = ":".join(map(str, (PROJECT, *beside)))
    environment = os.environ | {
        "PYTHONPATH": path,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    log_file = result.with_suffix(".log")
    with log_file.open("wb") as log:  # no pipe: vLLM's processes would keep it open
        code = subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=log, stderr=log, check=False, timeout=SECONDS
        ).returncode
    if code:
        raise RuntimeError(f"benchmarks.{module} {arguments[0]} ended with {code}; see {log_file}")
    return json.loads(result.read_text(encoding="utf-8"))


def ranked(
    engine: Engine,
    how: str,
    sets: Sequence[CandidateSet],
    *,
    thinking: bool,
    pool: int,
    tolerant: bool = False,
) -> dict[str, Any]:
    """One run of a strategy that shows at most `pool` candidates at once: its seconds, rankings, and what
    all queries together took.
    """
    sampling, way = Sampling(longest_trace(pool)), strategy(how)
    began = time.perf_counter()
    episodes = way(sets, engine, thinking=thinking, sampling=sampling, tolerant=tolerant)
    seconds = time.perf_counter() - began
    steps = [step for episode in episodes for step in episode.steps]
    spent = {
        name: sum(getattr(step, name) for step in steps)
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    }
    return {
        "seconds": seconds,
        "calls": len(steps),
        "invalid": sum(not step.valid for step in steps),
        **spent,
        "rankings": {episode.set_id: list(episode.ranking) for episode in episodes},
        "prompt": steps[0].prompt,
        "response": steps[0].completion,
    }
