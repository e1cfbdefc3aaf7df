"""Who has a file open and who holds it locked, as /proc tells it: what `LakeBusy` says of a catalog that
stays locked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROC = Path("/proc")
MOST_NAMED = 6
LONGEST_COMMAND = 160


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has one of the files open."""

    pid: int
    command: str
    locks: bool
    """Whether it holds a lock for writing; always false where the kernel does not tell (/proc/locks)."""

    def __str__(self) -> str:
        return f"process {self.pid} {'holds the write lock' if self.locks else 'has it open'}: {self.command}"


def of(paths: Sequence[Path]) -> list[Holder]:
    """The other processes that have one of `paths` open, those that hold a lock first; empty where /proc
    says nothing.
    """
    wanted = {(found.st_dev, found.st_ino) for found in _stats(paths)}
    locking = _locking({inode for _, inode in wanted})
    found = [
        Holder(pid, _command(pid), pid in locking)
        for pid in psutil.pids()
        if pid != os.getpid() and wanted & set(_open_files(pid))
    ]
    return sorted(found, key=lambda holder: (not holder.locks, holder.pid))


def listed(holders: Iterable[object]) -> str:
    """Holders as text, a line each, the first few by name."""
    lines = [str(holder) for holder in holders]
    more = [f"and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
    return "\n          ".join(lines[:MOST_NAMED] + more)


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        try:
            yield path.stat()
        except OSError:  # the -wal file comes and goes
            continue


def _open_files(pid: int) -> Iterator[tuple[int, int]]:
    """Device and inode of every file that a process has open; none where it is another user's, or gone."""
    # psutil's open_files gives paths as that process sees them, and in a container those are others.
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    yield from ((found.st_dev, found.st_ino) for found in _stats(descriptors))


def _locking(inodes: set[int]) -> set[int]:
    """Processes that hold a lock for writing on one of the inodes: `1: POSIX ADVISORY WRITE 4711 08:01:131
    120 120`.
    """  # psutil knows no locks
    try:
        lines = (PROC / "locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    fields = [line.split() for line in lines if " WRITE " in line and "->" not in line]
    return {
        int(each[4]) for each in fields if each[4].isdigit() and int(each[5].rpartition(":")[2]) in inodes
    }


def _command(pid: int) -> str:
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "(ended meanwhile)"
    text = " ".join(" ".join(words).split())
    return text if len(text) <= LONGEST_COMMAND else text[: LONGEST_COMMAND - 1] + "…"
