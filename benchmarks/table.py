"""What a benchmark's table is made of."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ranker.config import data_home

KEPT = data_home() / "bench"
"""Where the policy for the strategies is kept."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `holds` is None where nothing was promised."""

    what: str
    measured: str
    goal: str = ""
    holds: bool | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: a share of everything, the seconds that writers write, where the policy for
    strategies is kept, and the retrainings of a soak.
    """

    scale: float
    seconds: float
    model: Path = KEPT
    retrainings: int = 50
    hours: float = math.inf
    """After which a soak asks for no more of them."""

    def rows(self, full: int) -> int:
        return max(2_000, int(full * self.scale))

    def queries(self, full: int) -> int:
        return max(3, int(full * self.scale))


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    marks = {None: "", True: "holds", False: "**does not hold**"}
    lines = [f"| {row.what} | {row.measured} | {row.goal} | {marks[row.holds]} |" for row in rows]
    return "\n".join(["| what | measured | goal | |", "|---|---|---|---|", *lines])


def machine() -> str:
    """This machine, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}), {memory:.0f} GiB memory, Python"
        f" {platform.python_version()}"
    )
