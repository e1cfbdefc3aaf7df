"""A training's curves while it goes on: what the trainer logs goes to `training_metrics` and to whoever
follows, before the stage ends.

The rows stand under the training's key and are no finished stage's: the commit at the end replaces them. One
that fails leaves them, to be looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from ranker.errors import LakeBusy
from ranker.lake import Lake
from ranker.types import JsonObject

POINTS = {"phase": pl.String, "step": pl.Int32, "name": pl.String, "value": pl.Float64}
EVERY_SECONDS = 60.0
"""Between two writes: each makes a snapshot of the lake."""
Log = Callable[[str], None]
Follow = Callable[[str, pl.DataFrame], None]
"""Called with a training's key and its new points: phase, step, name, value."""


def path(folder: Path, phase: str) -> Path:
    """Where the trainer of a job's folder writes a phase's curve: a line of JSON for all values of a step."""
    return folder / f"curves-{phase}.jsonl"


def read(folder: Path) -> pl.DataFrame:
    """All points so far, as POINTS; a line that is being written is none yet."""
    rows = [
        (phase.stem.removeprefix("curves-"), row["step"], name, float(value))
        for phase in sorted(folder.glob("curves-*.jsonl"))
        for row in lines(phase)
        for name, value in row.items()
        if name != "step"
    ]
    return pl.DataFrame(rows, schema=POINTS, orient="row").unique(
        ["phase", "step", "name"], keep="last", maintain_order=True
    )


def lines(file: Path) -> Iterator[JsonObject]:
    """The whole lines of a curve's file."""
    if file.is_file():
        whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
        yield from map(json.loads, whole.splitlines())


class Following:
    """A log that also looks for new points, as often as something is logged.

    Args:
        follow: gets new points, too; None for nobody.
    """

    def __init__(self, lake: Lake, folder: Path, log: Log, follow: Follow | None) -> None:
        self._lake, self._folder, self._log, self._follow = lake, folder, log, follow
        self._sent = pl.DataFrame(schema=POINTS)
        self._looked = float("-inf")

    def log(self, text: str) -> None:
        """Hand the text on, and look for new points where the last look is long ago."""
        self._log(text)
        if time.monotonic() - self._looked >= EVERY_SECONDS:
            self.look()

    def look(self) -> None:
        """Hand new points on."""
        keys = ["phase", "step", "name"]
        new = read(self._folder).join(self._sent.select(keys), on=keys, how="anti", maintain_order="left")
        self._looked = time.monotonic()
        if new.is_empty():
            return
        key = self._folder.name
        try:
            if self._sent.is_empty():  # of a run that was killed: they come again
                self._lake.forget(key, ("training_metrics",))
            self._lake.add(key, "training_metrics", new)
        except LakeBusy as busy:
            return self._log(f"curves wait: {busy.rule}")
        self._sent = pl.concat([self._sent, new])
        if self._follow:
            self._follow(key, new)
