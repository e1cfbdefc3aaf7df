"""Folders that may not be written and disks that are full, as real mounts in a namespace of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ranker.config import STAGES
from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT
from tests.full_length import at_full_length, length

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
SMALL = 'mount -t tmpfs -o size=256k none "$0" && exec "$@"'
GROWING = 'mount -t tmpfs -o size=64m none "$0" && exec "$@"'
MOUNTS = subprocess.run(
    ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
)
pytestmark = pytest.mark.skipif(
    MOUNTS.returncode != 0, reason="this user may not mount: folders and disks cannot be made as needed"
)


def ranker(mount: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of `ranker` whose data folder is mounted as the shell line `mount` says."""
    program = [sys.executable, "-c", "from ranker.cli.main import app; app()", *arguments]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, str(folder), *program],
        cwd=PROJECT,
        env=os.environ | {"RANKER_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def there(lake: Lake) -> Path:
    """A data folder with a lake."""
    return lake.home


@pytest.mark.parametrize(
    "command",
    [
        ("query", "select count(*) from items"),
        ("run", "ingest", "--preset", "tiny"),
        ("fetch", "--preset", "smollm2"),
    ],
)
def test_a_folder_that_may_not_be_written_is_one_block(there: Path, command: tuple[str, ...]) -> None:
    done = ranker(READ_ONLY, there, *command)
    assert done.returncode == 2 and done.stdout == ""
    block = done.stderr[done.stderr.index("NoAccess") :]
    assert "permissions" in " ".join(block.split()) and str(there)[:20] in block
    assert "Traceback" not in done.stderr
    with open_lake(there, read_only=True) as lake:
        assert lake.rows("from stage_runs").is_empty()


def test_a_full_disk_is_one_block_and_leaves_nothing(tmp_path: Path) -> None:
    done = ranker(SMALL, tmp_path, "run", "ingest", "--preset", "tiny")
    assert done.returncode == 2 and "DiskFull" in done.stderr and "Traceback" not in done.stderr


FILLING = """
import json, os, subprocess, sys
from pathlib import Path
from ranker.config import parse_params
from ranker.errors import RankerError, by_disk
from ranker.lake import open_lake
from ranker.stages import candidates, distill, evaluate, ingest, register
from ranker.train import job
from tests.ranker.evaluated import ACCEPT

home, small = Path(sys.argv[1]), json.loads(sys.argv[2])
params = parse_params({**small, "home": str(home)})
done = {}

def size(room):
    subprocess.run(["mount", "-o", f"remount,size={room}", str(home)], check=True)

def stage(lake, name):
    return {
        "ingest": lambda: ingest.run(lake, params.ingest, check=ACCEPT),
        "candidates": lambda: candidates.run(lake, params.candidates, source=done["ingest"], check=ACCEPT),
        "distill": lambda: distill.run(
            lake, params.distill, sets=done["candidates"], policy=params.train.policy, check=ACCEPT
        ),
        "train": lambda: job.run(
            lake, params.train, sets=done["candidates"], traces=done["distill"], check=ACCEPT
        ),
        "evaluate": lambda: evaluate.run(
            lake, params.evaluate, sets=done["candidates"], traces=done["distill"], trained=done["train"],
            champion=None, check=ACCEPT,
        ),
        "register": lambda: register.run(
            lake, params.register_, trained=done["train"], scores=done["evaluate"], check=ACCEPT
        ),
    }[name]()

def attempt(name):
    with open_lake(home) as lake:
        done[name] = stage(lake, name)

for name, spares in json.loads(sys.argv[3]).items():
    said = []
    for spare in spares:
        used = os.statvfs(home)
        size((used.f_blocks - used.f_bfree) * used.f_frsize + spare)
        try:
            attempt(name)
        except Exception as error:
            known = error if isinstance(error, RankerError) else by_disk(error)  # as the command line does
            if known is None:
                raise
            said.append(f"{type(known).__name__}: {known}")
        finally:
            size("256m")
    with open_lake(home, read_only=True) as lake:
        before = lake.rows("select count(*) from stage_runs where stage = $stage", {"stage": name}).item()
    attempt(name)
    with open_lake(home, read_only=True) as lake:
        counted = "select count(*) from {} where batch_id = $key"
        own = {"key": done[name].key}
        there = {table: lake.rows(counted.format(table), own).item() for table in done[name].rows}
        left = lake.named("retention/staging").height
    print(json.dumps({"stage": name, "said": said, "before": before, "skipped": done[name].skipped,
                      "whole": there == done[name].rows, "left": left}))
"""
SPARE = {
    "ingest": [40_000, 600_000],
    "candidates": [0, 160_000],
    "distill": [160_000],
    "train": [300_000],
    "evaluate": [40_000],
    "register": [100_000],
}
"""Bytes that are free when a stage begins: too few for it, each in another place of it."""
TINY = {
    "preset": "tiny",
    "distill": {"traces": 200},
    "train": {"threads": 1, "sft": {"max_steps": 2}, "grpo": {"max_steps": 1, "prompts": 32}},
    "evaluate": {"models": ["rl"], "strategies": ["direct"], "thinking": [False], "max_queries": 8},
}


@at_full_length
def test_a_disk_that_fills_in_a_stage_leaves_no_half_result(tmp_path: Path) -> None:
    """Each stage meets a disk that is nearly full, in several places of it; with room it then ends right."""
    filled = STAGES[: length(3, len(STAGES))]  # those after them train first
    spare = {stage: SPARE[stage] for stage in filled}
    program = [sys.executable, "-c", FILLING, str(tmp_path), json.dumps(TINY), json.dumps(spare)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", GROWING, str(tmp_path), *program],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["stage"] for one in stages] == list(filled)
    for one in stages:
        assert one["said"] and all("DiskFull" in said for said in one["said"]), one
        assert (one["before"], one["skipped"], one["whole"], one["left"]) == (0, False, True, 0), one
