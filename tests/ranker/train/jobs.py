"""Training jobs for tests: a tiny policy's parameters, the files of a job, processes that play the flow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from ranker.config import TrainParams, parse_params
from ranker.lake.candidate_sets import to_frame
from ranker.policy.prompts import trace
from ranker.train import job
from tests.ranker.factories import overlap_sets

LIMIT_SECONDS = 120
VALID = 8
"""Validation queries."""
NOTHING_TAUGHT = pl.DataFrame(schema={"set_id": pl.String, "label": pl.String, "score": pl.Float64})


def tiny(**phases: dict) -> TrainParams:
    """Long enough that a killed flow's trainer is still in the phase when it notices (it looks every
    second).
    """
    sft = {"max_steps": 120, "per_device_train_batch_size": 16, "save_steps": 20} | phases.get("sft", {})
    grpo = {
        "max_steps": 24,
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "save_steps": 4,
    } | phases.get("grpo", {})
    return parse_params(
        {
            "preset": "tiny",
            "train": {"sft": sft, "grpo": grpo, "policy": phases.get("policy", {}), "threads": 1},
        }
    ).train


def write_job(home: Path, params: TrainParams, key: str = "k") -> Path:
    """The files that `job.export` writes, from made-up sets instead of a lake."""
    folder = home / "jobs" / key
    folder.mkdir(parents=True)
    sets = overlap_sets(60)
    rows = []
    for given in sets:
        worst = min(given.labels, key=given.relevance.get)
        text = trace(
            "exclude",
            True,
            {label: int(grade) for label, grade in given.relevance.items()},
            [worst],
            "compact",
        )
        rows.append(("synthetic", given.set_id, "exclude", True, list(given.labels), text))
    traces = pl.DataFrame(rows, schema=[*job.ASKED, "completion"], orient="row")
    job.write(folder, sets, traces, job.rl_prompts(sets, NOTHING_TAUGHT, params.grpo))
    to_frame(overlap_sets(VALID, seed=1, split="valid")).write_parquet(folder / "valid.parquet")
    (folder / "job.json").write_text(
        json.dumps({"key": key, "params": params.model_dump(mode="json"), "tasks": ["synthetic"]})
    )
    return folder


def counts(home: Path, folder: Path) -> dict[str, int]:
    tables, details = job.collect(home, folder, "k")
    rows = {
        name: len(value) if isinstance(value, pl.DataFrame) else sum(len(pl.read_parquet(p)) for p in value)
        for name, value in tables.items()
    }
    return rows | {phase: details[phase]["steps"] for phase in ("sft", "rl")}


def owner(folder: Path) -> subprocess.Popen:
    """A process that plays the flow: it launches the trainer and watches it."""
    code = (
        "import sys, json, pathlib; sys.path.insert(0, '.'); from ranker.train import job; from ranker.config"
        " import TrainParams\nf = pathlib.Path(sys.argv[1]); p = TrainParams.model_validate(json.loads((f /"
        " 'job.json').read_text())['params']); job.launch(f, p, print)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def beat(folder: Path) -> str:
    try:
        return json.loads((folder / "heartbeat.json").read_text())["text"]
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


def step(folder: Path, phase: str) -> int:
    """Where the trainer says that it is in `phase`; −1 in another."""
    words = beat(folder).split()
    return int(words[2]) if words[:2] == [phase, "step"] else -1


def with_(params, **changes):
    """Parameters (or a section of them) with some replaced; a mapping replaces inside its section."""
    return params.model_copy(
        update={
            name: getattr(params, name).model_copy(update=value) if isinstance(value, dict) else value
            for name, value in changes.items()
        }
    )


def start_from(undisturbed: tuple[Path, Path, dict[str, int]], home: Path, folder: Path) -> None:
    """Give a job the policy that `undisturbed` has taught: its trainer goes on behind SFT."""
    for phase in ("untrained", "sft"):
        shutil.copytree(undisturbed[0] / "models" / "k" / phase, home / "models" / "k" / phase)
    shutil.copy(undisturbed[1] / "metrics-sft.parquet", folder)
