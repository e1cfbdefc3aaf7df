"""What a data folder may do without: models that no kept version needs, what finished trainings were computed
from, what killed runs have left in the lake, episodes of old trainings, and the rows of old batches.

`plan` says of each thing why it stays or goes, `free` does it. Nothing goes that is younger than a grace
time, or that a run on this machine is at: a training of another machine is told by its age alone.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from ranker.config import STAGES, RegisterParams, RetentionParams
from ranker.lake import Lake, lineage, maintenance
from ranker.progress import Progress
from ranker.stages import registry

_KEY = re.compile(r"[0-9a-f]{16}(\.replaced-\d+)?")
"""The name of a training's folder, or of one that a forced repeat has set aside; pretrained models have
others.
"""
Kind = Literal["model", "job", "staging table", "episodes", "batch", "served"]
ROWS = {
    "ingest": ("sources", "items", "interactions", "queries", "qrels"),
    "candidates": ("candidate_sets", "candidates"),
    "distill": ("teacher_scores", "traces"),
    "evaluate": ("teacher_scores", "steps", "episodes"),
}
"""Tables that go with an old batch of a stage; means, differences and curves are small and stay."""
_SERVED = (
    "served_candidates",
    "served_orders",
    "served_shadows",
    "served_requests",
    "feedback",
    "steps",
    "episodes",
)
"""Tables that batches of served requests and of feedback have rows in."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that takes room."""

    kind: Kind
    name: str
    """Of a folder or a table; of rows their batch."""
    size: int
    """Bytes that go with it; of rows and staging tables, whose files go when snapshots expire, 0."""
    goes: bool
    why: str
    tables: tuple[str, ...] = ()
    """Whose rows of the batch go."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a data folder."""

    things: tuple[Thing, ...]
    """Everything that could go."""
    keys: frozenset[str]
    """Of the stage runs whose snapshots stay: those that a kept version rests on, and the young ones."""


def plan(lake: Lake, params: RegisterParams, limits: RetentionParams) -> Plan:
    """What may go and what stays, within `limits`."""
    pinned = registry.pinned(lake.home, params, limits.versions)
    runs, rested_on = dict(lake.named("retention/finished").iter_rows()), _rested_on(lake, pinned)
    with Progress("looking at folders and tables"):
        things = (
            *_models(lake, pinned, runs, limits),
            *_jobs(lake, runs, limits),
            *_staging(lake, limits),
            *_episodes(lake, pinned, limits),
            *_batches(lake, rested_on, limits),
            *_served(lake, limits),
        )
    young = {key for key, age in runs.items() if age < 24 * limits.days}
    return Plan(things, frozenset(young | rested_on))


def _rested_on(lake: Lake, pinned: Mapping[str, str]) -> set[str]:
    rows = lake.rows("select train_key, evaluate_key from model_versions").iter_rows()
    return {run.key for train, scores in rows if train in pinned for run in lineage.of(lake, scores)}


def free(lake: Lake, things: Iterable[Thing]) -> int:
    """Take away what goes; gives the bytes of folders that are free now."""
    freed, going = 0, [thing for thing in things if thing.goes]
    with Progress("taking away", len(going)) as progress:
        for thing in progress.over(going):
            if thing.kind in ("model", "job"):
                freed += _removed(lake.home / f"{thing.kind}s" / thing.name, thing.size)
            elif thing.kind == "staging table":
                lake.execute(f'drop table if exists lake.staging."{thing.name}"')
            else:
                lake.forget(thing.name, thing.tables, again=thing.kind == "batch")
    return freed


@dataclass(frozen=True, slots=True)
class Freed:
    """What became of a data folder."""

    things: tuple[Thing, ...]
    size: int
    """Bytes of folders."""
    snapshots: int
    """That expired."""
    merged: int
    """Small files of the lake that were merged."""
    deleted: int
    """Files of the lake."""

    def __str__(self) -> str:
        return (
            f"{self.size / 2**20:,.0f} MiB of folders are free, {self.snapshots} snapshots expired,"
            f" {self.merged} small files merged, {self.deleted} files of the lake deleted"
        )


def collect(lake: Lake, params: RegisterParams, limits: RetentionParams) -> Freed:
    """Take away all that `plan` says may go, then the snapshots and files that nothing needs any more. One
    collection at a time on this machine.
    """
    with lake.claim("gc", "lake"):
        made, grace = plan(lake, params, limits), limits.grace_hours
        size = free(lake, made.things)
        merged, files = maintenance.compact(lake, grace_hours=grace)
        old = maintenance.expire(lake, days=limits.days, grace_hours=grace, keys=made.keys)
        files += old.files + len(maintenance.orphans(lake, grace))
    small = int(merged["files_before"].sum()) if merged.height else 0
    return Freed(made.things, size, old.gone.height, small, files)


def _models(
    lake: Lake, pinned: Mapping[str, str], runs: Mapping[str, float], limits: RetentionParams
) -> Iterator[Thing]:
    for folder in _folders(lake.home / "models"):
        key = folder.name.partition(".")[0]
        size, aside = _size(folder), key != folder.name
        if key in pinned and not aside:
            yield Thing("model", folder.name, size, False, pinned[key])
            continue
        after = limits.grace_hours if aside else max(limits.grace_hours, 24 * limits.days)
        what = (
            "set aside by a forced repeat"
            if aside
            else "no kept version is of it"
            if key in runs
            else "its training did not end"
        )
        age = runs[key] if key in runs else _age(folder)
        yield _aged("model", folder.name, size, lake.claimed("train", key), age, after, what)


def _jobs(lake: Lake, runs: Mapping[str, float], limits: RetentionParams) -> Iterator[Thing]:
    for folder in _folders(lake.home / "jobs"):
        key = folder.name.partition(".")[0]
        age = runs[key] if key in runs else _age(folder)
        what = "finished: the lake has what it gave" if key in runs else "its run did not end"
        at_work = lake.claimed("*", key)
        yield _aged("job", folder.name, _size(folder), at_work, age, limits.grace_hours, what)


def _staging(lake: Lake, limits: RetentionParams) -> Iterator[Thing]:
    for name, age in lake.named("retention/staging").iter_rows():
        at_work = lake.claimed("*", name.rpartition("__")[2])
        what = "left by a run that did not end"
        yield _aged("staging table", name, 0, at_work, age, limits.grace_hours, what)


def _aged(kind: Kind, name: str, size: int, at_work: bool, age: float, after: float, what: str) -> Thing:
    """What goes by its age (hours), unless a run is at it."""
    if at_work:
        return Thing(kind, name, size, False, "a run is at it")
    young = age < after
    return Thing(kind, name, size, not young, f"{what}, {_told(age)} old" + (", young" if young else ""))


def _episodes(lake: Lake, pinned: Mapping[str, str], limits: RetentionParams) -> Iterator[Thing]:
    for key, age, count in lake.named("retention/rollouts").iter_rows():
        rows = f"{count:,} rollouts, {_told(age)} old"
        if key in pinned:
            yield Thing("episodes", key, 0, False, f"{rows}: {pinned[key]}")
        else:
            yield Thing("episodes", key, 0, age >= 24 * limits.days, rows, ("steps", "episodes"))


def _batches(lake: Lake, rested_on: set[str], limits: RetentionParams) -> Iterator[Thing]:
    """A run that is at work has not said yet what it reads: meanwhile all stay."""
    young = max(24 * limits.days, limits.grace_hours)
    at_work = any(lake.claimed(stage, "*") for stage in STAGES)
    found = lake.named("retention/batches", {"keys": sorted(rested_on), "young": young})
    for stage, key, age, needed in found.iter_rows():
        rows = f"{stage}, {_told(age)} old"
        if needed:
            why = "young" if age < young else "a kept version or newer runs were made from it"
            yield Thing("batch", key, 0, False, f"{rows}: {why}")
        else:
            why = ": a run is at work" if at_work else ""
            yield Thing("batch", key, 0, not at_work, rows + why, ROWS[stage])


def _served(lake: Lake, limits: RetentionParams) -> Iterator[Thing]:
    if limits.served_days is None:
        return
    for key, stage, age in lake.named("retention/served").iter_rows():
        what = "requests" if stage == "serve" else "feedback"
        goes = age >= 24 * limits.served_days
        yield Thing("served", key, 0, goes, f"{what}, {_told(age)} old", _SERVED)


def _folders(where: Path) -> list[Path]:
    if not where.is_dir():
        return []
    return sorted(path for path in where.iterdir() if path.is_dir() and _KEY.fullmatch(path.name))


def _removed(folder: Path, size: int) -> int:
    """Out of the way first, under a name that no reader takes for whole: a kill leaves no half model."""
    aside = (
        folder
        if ".replaced-" in folder.name
        else folder.with_name(f"{folder.name}.replaced-{time.time_ns()}")
    )
    if folder != aside:
        folder.rename(aside)
    shutil.rmtree(aside)
    return size


def _size(folder: Path) -> int:
    """Bytes that go with a folder: files that another training shares (by hard links) stay on disk."""
    found = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(one.st_size for one in found if one.st_nlink == 1)


def _age(folder: Path) -> float:
    """Hours since anything in it was written."""
    newest = max((os.stat(root).st_mtime for root, _, _ in os.walk(folder)), default=time.time())
    return max(0.0, time.time() - newest) / 3600


def _told(hours: float) -> str:
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} h"


def table(things: Iterable[Thing]) -> pl.DataFrame:
    """kind, name, MiB, goes, why: what goes first, the largest first."""
    rows = [
        {
            "kind": thing.kind,
            "name": thing.name,
            "MiB": round(thing.size / 2**20, 1),
            "goes": "goes" if thing.goes else "stays",
            "why": thing.why,
        }
        for thing in sorted(things, key=lambda thing: (not thing.goes, -thing.size))
    ]
    return pl.DataFrame(
        rows,
        schema={"kind": pl.String, "name": pl.String, "MiB": pl.Float64, "goes": pl.String, "why": pl.String},
    )
