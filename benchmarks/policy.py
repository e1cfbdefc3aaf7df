"""The benchmark's own policy: known relevance in pools of 20 and of 100, learned by the project's stages, SFT
alone.

`FOLDER` trains it, unless that folder has it already, and prints where it and its test queries are. Its
vocabulary has the 100 labels A … CV because its training pools have them; a policy of another task could not
read pools of 100.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.shapes import accept
from ranker.config import TASKS, RetrainParams, parse_params
from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.refs import Ref
from ranker.stages import candidates, distill, ingest
from ranker.train import job
from ranker.types import CandidateSet

POOLS = (20, 100)
FOLDER = Path(__file__).parent / "tasks"
GIVEN = {
    "preset": "prove-synthetic",
    "ingest": {"tasks": [f"frontier-{n}" for n in POOLS]},
    "candidates": {"pool_size": {}, "test_share": 0.3, "max_test": 200},
    "distill": {"traces": 16_000, "nothink_share": 0.4, "rank_share": 0.25},
    "train": {
        "policy": {"max_length": 1_024},
        "weights": {
            "frontier-100": 0.1
        },  # one such trace costs as many tokens as five others, and teaches the same
        "sft": {"max_steps": 150, "save_steps": 75},
        "grpo": {"max_steps": 0},
    },
}


def params(home: Path) -> RetrainParams:
    """Parameters of the benchmark's training; its two tasks become known to this process and to its
    children.
    """
    os.environ[TASKS] = str(FOLDER)
    return parse_params({**GIVEN, "home": str(home)})


def sets_of(home: Path, n: int, queries: int) -> list[CandidateSet]:
    """Test queries with pools of `n`, always the same ones."""
    asked = params(home)
    with open_lake(home, read_only=True) as lake:
        batch = lake.named("report/sets_of", {"task": f"frontier-{n}"}).item()
        return load_sets(
            lake, batch, split="test", task=f"frontier-{n}", limit=min(queries, asked.candidates.max_test)
        )


def taught(home: Path) -> Ref:
    """The finished training, from the folder's lake or made now."""
    asked = params(home)
    with open_lake(home) as lake:
        source = ingest.run(lake, asked.ingest, check=accept)
        sets = candidates.run(lake, asked.candidates, source=source, check=accept)
        traces = distill.run(lake, asked.distill, sets=sets, policy=asked.train.policy, check=accept)
        return job.run(
            lake,
            asked.train,
            sets=sets,
            traces=traces,
            check=accept,
            log=lambda text: print(text, flush=True),
        )


if __name__ == "__main__":
    home, began = Path(sys.argv[1]).resolve(), time.perf_counter()
    done = taught(home)
    print(
        json.dumps(
            {
                "model": str(home / done.details["model"] / "sft"),
                "seconds": time.perf_counter() - began,
                "trained": done.details["sft"],
                "skipped": done.skipped,
            }
        )
    )
