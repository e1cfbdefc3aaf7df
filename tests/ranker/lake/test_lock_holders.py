"""Who holds a file: asked about real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ranker.lake import lock_holders

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc on this system")
OPENS = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
LOCKS = (
    "import fcntl, sys; held = open(sys.argv[1], 'r+'); fcntl.lockf(held, fcntl.LOCK_EX); print('open',"
    " flush=True); sys.stdin.read()"
)


@contextmanager
def holding(script: str, path: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"open\n"
        yield process.pid
        process.communicate()


def test_processes_are_named_with_their_command_and_those_that_lock_come_first(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.touch()
    with holding(OPENS, path) as reader, holding(LOCKS, path) as writer, path.open():
        found = lock_holders.of([path, tmp_path / "absent"])
    assert {holder.pid for holder in found} == {reader, writer}, "and never this process"
    assert all("import" in holder.command and "held" in holder.command for holder in found)
    if any(holder.locks for holder in found):  # some kernels (gVisor's, for one) list no locks
        assert [(holder.pid, holder.locks) for holder in found] == [(writer, True), (reader, False)]
    assert not lock_holders.of([path])


def test_a_long_list_is_cut_and_says_so() -> None:
    listed = lock_holders.listed(lock_holders.Holder(os.getpid(), f"c{i}", False) for i in range(9))
    assert "c0" in listed and "c8" not in listed and listed.endswith("and 3 more")
