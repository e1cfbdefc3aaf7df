"""Writers and readers on one lake at once: `crowd(home, seconds, kill)`; as a module `write|read HOME NAME
SECONDS URI` is one of them.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import shapes
from ranker.errors import LakeBusy
from ranker.lake import open_lake
from ranker.refs import PROJECT

EPISODES, STEPS = 50, 7
WRITERS, READERS, KILL_EVERY = 4, 2, 4.0
TEAM = (6, 4)
"""Writers and readers where the catalog is PostgreSQL, which makes none wait for another's whole commit."""


def batch(name: str) -> dict[str, pl.DataFrame]:
    """50 episodes of 7 steps each."""
    pool = [chr(65 + place) for place in range(STEPS + 1)]
    costs = {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "milliseconds": 1.0,
        "reward": 0.0,
        "strategy": "iterative",
        "model": "m",
        "seed": 0,
    }
    episode = {
        "stage": "evaluate",
        "set_id": "s",
        "task": "t",
        "arm": "rl",
        "thinking": True,
        "ranking": pool,
        "pool": pool,
        "calls": STEPS,
        "invalid_calls": 0,
    }
    step = {
        "mode": "exclude",
        "prompt": "p",
        "completion": "c",
        "action": ["A"],
        "taken": ["A"],
        "valid": True,
        "reason": "",
        "reward_format": 0.0,
        "reward_task": 0.0,
        "reward_trace": 0.0,
    }
    ids = [f"{name}-{number}" for number in range(EPISODES)]
    steps = [
        {**costs, **step, "episode_id": one, "step": at, "pool": pool[at:]}
        for one in ids
        for at in range(STEPS)
    ]
    return {
        "episodes": pl.DataFrame([{**costs, **episode, "episode_id": one} for one in ids]),
        "steps": pl.DataFrame(steps),
    }


def write(home: Path, name: str, seconds: float, uri: str = "") -> None:
    """Append batch after batch; each key is printed once its write has returned, which acknowledges it."""
    until = time.monotonic() + seconds
    with open_lake(home, uri) as lake:
        for number in itertools.count():
            if time.monotonic() > until:
                return
            key = f"{name}x{number}"
            try:
                lake.write(
                    "evaluate",
                    key,
                    batch(key),
                    inputs=[],
                    parameters="{}",
                    code="bench",
                    read_snapshot=0,
                    details={},
                    check=shapes.accept,
                )
            except LakeBusy:
                print(json.dumps({"busy": key}), flush=True)
            else:
                print(json.dumps({"acknowledged": key}), flush=True)


def read(home: Path, _name: str, seconds: float, uri: str = "") -> None:
    """Look again and again; every batch seen is whole, or it is told."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with open_lake(home, uri, read_only=True) as lake:
            print(json.dumps({"read": 1, "partial": partial(lake).height}), flush=True)


def partial(lake: Any) -> pl.DataFrame:
    """Batches that are there, but not in whole: fewer episodes or steps than written, or no mark of the
    stage run.
    """
    return lake.rows(
        """
        with e as (select batch_id, count(*) as episodes from episodes group by all),
        s as (select batch_id, count(*) as steps from steps group by all)
        select batch_id, episodes, steps, r.stage
        from e full join s using (batch_id)
        full join (select batch_id, stage from stage_runs where stage = 'evaluate') r using (batch_id)
        where episodes is distinct from $episodes or steps is distinct from $steps or r.stage is null
        """,
        {"episodes": EPISODES, "steps": EPISODES * STEPS},
    )


def crowd(
    home: Path, seconds: float, kill: bool, uri: str = "", writers: int = WRITERS, readers: int = READERS
) -> dict[str, Any]:
    """Writers and readers on the lake of `uri`; with `kill` one writer is killed with SIGKILL every 4 seconds
    and another takes its place.

    Returns:
        acknowledged, busy (writes refused after all retries), reads, lost (acknowledged, not there), partial
        (seen in part by a reader or at the end), reader_errors, writer_errors, kills.
    """
    with open_lake(home, uri):
        pass
    folder, started, names = home / "crowd", time.monotonic(), itertools.count()
    folder.mkdir(parents=True)
    writing = [_begin("write", home, folder, f"w{next(names)}", seconds, uri) for _ in range(writers)]
    reading = [_begin("read", home, folder, f"r{number}", seconds, uri) for number in range(readers)]
    ended, killed, draw = [], [], random.Random(1)
    while kill and time.monotonic() - started + KILL_EVERY < seconds:
        time.sleep(KILL_EVERY)
        victim = writing.pop(draw.randrange(len(writing)))
        victim.kill()
        victim.wait()
        killed.append(victim)
        left_to_write = seconds - (time.monotonic() - started)
        writing.append(_begin("write", home, folder, f"w{next(names)}", left_to_write, uri))
    for process in [*writing, *reading]:
        try:
            process.wait(seconds + 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        ended.append(process)
    lines = [
        _line(line)
        for path in sorted(folder.glob("*.out"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    with open_lake(home, uri, read_only=True) as lake:
        there = set(lake.rows("select batch_id from stage_runs where stage = 'evaluate'")["batch_id"])
        left = partial(lake).height
    acknowledged = {row["acknowledged"] for row in lines if "acknowledged" in row}
    return {
        "acknowledged": len(acknowledged),
        "busy": sum("busy" in row for row in lines),
        "reads": sum(row.get("read", 0) for row in lines),
        "lost": len(acknowledged - there),
        "partial": left + sum(row.get("partial", 0) for row in lines),
        "reader_errors": sum(process.returncode != 0 for process in reading),
        "writer_errors": sum(process.returncode != 0 for process in writing),
        "kills": len(killed),
    }


def _begin(
    what: str, home: Path, folder: Path, name: str, seconds: float, uri: str
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", what, str(home), name, str(seconds), uri],
            cwd=PROJECT,
            stdout=out,
            stderr=err,
        )


def _line(line: str) -> dict[str, Any]:
    """A line that a killed writer had not finished says nothing: what it stood for was acknowledged to
    nobody.
    """
    with suppress(json.JSONDecodeError):
        return json.loads(line)
    return {}


if __name__ == "__main__":
    part = {"write": write, "read": read}[sys.argv[1]]
    part(Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5])
