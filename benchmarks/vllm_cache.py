"""vLLM's prefix cache on and off: one-by-one elimination of the same queries by the same policy, each way in
a process of its own.

`on|off MODEL SETS RESULT` ranks the sets of a Parquet file, pools of one size after the other. Every timed
run starts with an empty cache, so that
what it finds there are the prompts of its own earlier rounds: those begin alike up to the candidate that was
struck out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from benchmarks import in_vllm
from benchmarks.measure import LONG, REPEATS
from ranker.engines import manifest
from ranker.engines.vllm import VllmEngine
from ranker.lake.candidate_sets import from_frame, to_frame
from ranker.types import CandidateSet

WAYS = ("off", "on")
THINKING = 20
"""Candidates up to which reasoning is measured too: it costs several times the written tokens, and a
prefix cache spares none of those.
"""


def ran(model: str, sets: Sequence[CandidateSet], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The runs of both ways, in the same order.

    Raises:
        FileNotFoundError, RuntimeError, subprocess.TimeoutExpired: one could not be run; says why.
    """
    path = folder / "sets-cache.parquet"
    to_frame(sets).write_parquet(path)
    return {
        way: in_vllm.ran("vllm_cache", way, model, str(path), result=folder / f"vllm-cache-{way}.json")[
            "runs"
        ]
        for way in WAYS
    }


def runs(engine: VllmEngine, sets: Sequence[CandidateSet]) -> Iterator[dict[str, Any]]:
    """One-by-one elimination: pools of every size, without and with reasoning."""
    for n in sorted({len(given) for given in sets}):
        alike = [given for given in sets if len(given) == n]
        for thinking in (False, True) if n <= THINKING else (False,):
            yield {"n": n, "thinking": thinking, **timed(engine, alike, thinking)}


def timed(engine: VllmEngine, sets: Sequence[CandidateSet], thinking: bool) -> dict[str, Any]:
    """The first run, with the median time of all; a few queries to warm up are forgotten before it, and so
    is each run before the next.
    """
    in_vllm.ranked(engine, "iterative", sets[:2], thinking=thinking, pool=len(sets[0]))
    done: list[dict[str, Any]] = []
    while len(done) < REPEATS and sum(one["seconds"] for one in done) < LONG:
        engine.forget()
        done.append(in_vllm.ranked(engine, "iterative", sets, thinking=thinking, pool=len(sets[0])))
    return {**done[0], "seconds": median(one["seconds"] for one in done)}


if __name__ == "__main__":
    way, model, path, result = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    engine = VllmEngine(f"vllm:{model}", style=manifest(model)["style"], prefix_cache=way == "on")
    result.write_text(
        json.dumps({"runs": list(runs(engine, from_frame(pl.read_parquet(path))))}), encoding="utf-8"
    )
