"""Tokens a second of a likelihood policy in vLLM, in the environment of `make test-vllm`.

`MODEL SETS RESULT` scores the candidate sets of a Parquet file, task by task.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import in_vllm
from ranker.engines import trees
from ranker.engines.vllm_likelihood import VllmLikelihoodEngine, sequences
from ranker.lake.candidate_sets import from_frame, to_frame
from ranker.policy.likelihood import asked, branches
from ranker.types import CandidateSet


def ran(model: Path, sets: Mapping[str, Sequence[CandidateSet]], folder: Path) -> dict[str, dict[str, Any]]:
    """Seconds, tokens read and queries, by task.

    Raises:
        FileNotFoundError, RuntimeError, subprocess.TimeoutExpired: it could not be run; says why.
    """
    path = folder / "sets-likelihood.parquet"
    to_frame([given for own in sets.values() for given in own]).write_parquet(path)
    return in_vllm.ran("vllm_likelihood", str(model), str(path), result=folder / "vllm-likelihood.json")


def timed(engine: VllmLikelihoodEngine, sets: Sequence[CandidateSet]) -> dict[str, Any]:
    """One run over all sets, after a few to warm up."""
    questions = branches([asked(given, engine.count, engine.context) for given in sets])
    engine.loglikelihood(questions[:4])
    began = time.perf_counter()
    engine.loglikelihood(questions)
    seconds = time.perf_counter() - began
    read = [ids for one in questions for ids in sequences(trees.tree(one, engine.tokenizer))]
    return {"seconds": seconds, "tokens": sum(map(len, read)), "queries": len(sets)}


if __name__ == "__main__":
    model, path, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    engine = VllmLikelihoodEngine(f"vllm:{model}")
    by_task: dict[str, list[CandidateSet]] = {}
    for given in from_frame(pl.read_parquet(path)):
        by_task.setdefault(given.task, []).append(given)
    found = {name: timed(engine, sets) for name, sets in by_task.items()}
    result.write_text(json.dumps(found), encoding="utf-8")
