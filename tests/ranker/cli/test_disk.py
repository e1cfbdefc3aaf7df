"""Folders that may not be written and disks that are full, as real mounts in a namespace of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
SMALL = 'mount -t tmpfs -o size=256k none "$0" && exec "$@"'
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
