"""What a data folder may do without: models that no kept version needs, what finished trainings were computed
from, what killed runs have left in the lake, episodes of old trainings.

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

from ranker.config import RegisterParams
from ranker.lake import Lake, lineage, maintenance
from ranker.stages import register

VERSIONS, DAYS, GRACE_HOURS = 3, 90.0, 24.0
_KEY = re.compile(r"[0-9a-f]{16}(\.replaced-\d+)?")
"""The name of a training's folder, or of one that a forced repeat has set aside; pretrained models have
others.
"""
Kind = Literal["model", "job", "staging table", "episodes"]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that takes room."""

    kind: Kind
    name: str
    """Of a folder or a table; of episodes their batch."""
    size: int
    """Bytes that go with it; of episodes and staging tables, whose files go when snapshots expire, 0."""
    goes: bool
    why: str


def plan(
    lake: Lake,
    params: RegisterParams,
    *,
    versions: int = VERSIONS,
    days: float = DAYS,
    grace_hours: float = GRACE_HOURS,
) -> list[Thing]:
    """Everything that could go, with what is to become of it.

    Args:
        versions: newest versions of each registered name whose models stay, beside champion, challenger and
            the champions before.
        days: age from which the episodes of a training, and the model of one that nobody has registered, go.
        grace_hours: age below which nothing goes.
    """
    pinned = register.pinned(lake.home, params, versions)
    runs = {key: age for key, age in lake.named("retention/finished").iter_rows()}
    return [
        *_models(lake, pinned, runs, days, grace_hours),
        *_jobs(lake, runs, grace_hours),
        *_staging(lake, grace_hours),
        *_episodes(lake, pinned, days),
    ]


def needed(lake: Lake, params: RegisterParams, *, versions: int = VERSIONS, days: float = DAYS) -> set[str]:
    """Keys of the stage runs whose snapshots stay: those that a kept version rests on, and younger ones than
    `days`.
    """
    pinned = register.pinned(lake.home, params, versions)
    found = {key for key, age in lake.named("retention/finished").iter_rows() if age < 24 * days}
    rests = lake.rows("select train_key, evaluate_key from model_versions")
    for train, evaluate in rests.iter_rows():
        if train in pinned:
            found |= {run.key for run in lineage.of(lake, evaluate)}
    return found


def free(lake: Lake, things: Iterable[Thing]) -> int:
    """Take away what goes; gives the bytes of folders that are free now."""
    freed = 0
    for thing in things:
        if not thing.goes:
            continue
        if thing.kind in ("model", "job"):
            freed += _removed(lake.home / f"{thing.kind}s" / thing.name, thing.size)
        elif thing.kind == "staging table":
            lake.execute(f'drop table if exists lake.staging."{thing.name}"')
        else:
            lake.forget(thing.name, ("steps", "episodes"))
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


def collect(
    lake: Lake,
    params: RegisterParams,
    *,
    versions: int = VERSIONS,
    days: float = DAYS,
    grace_hours: float = GRACE_HOURS,
) -> Freed:
    """Take away all that `plan` says may go, then the snapshots and files that nothing needs any more. One
    collection at a time on this machine.
    """
    with lake.claim("gc", "lake"):
        things = plan(lake, params, versions=versions, days=days, grace_hours=grace_hours)
        keys = needed(lake, params, versions=versions, days=days)
        size = free(lake, things)
        merged, files = maintenance.compact(lake, grace_hours=grace_hours)
        old = maintenance.expire(lake, days=days, grace_hours=grace_hours, keys=keys)
        files += old.files + len(maintenance.orphans(lake, grace_hours))
    small = int(merged["files_before"].sum()) if merged.height else 0
    return Freed(tuple(things), size, old.gone.height, small, files)


def _models(
    lake: Lake, pinned: Mapping[str, str], runs: Mapping[str, float], days: float, grace_hours: float
) -> Iterator[Thing]:
    for folder in _folders(lake.home / "models"):
        key = folder.name.partition(".")[0]
        aside, age = key != folder.name, runs.get(key, _age(folder))
        if key in pinned and not aside:
            yield Thing("model", folder.name, _size(folder), False, pinned[key])
            continue
        after = grace_hours if aside else max(grace_hours, 24 * days)
        what = (
            "set aside by a forced repeat"
            if aside
            else "no kept version is of it"
            if key in runs
            else "its training did not end"
        )
        yield _aged(lake, "model", folder, "train", key, age, after, what)


def _jobs(lake: Lake, runs: Mapping[str, float], grace_hours: float) -> Iterator[Thing]:
    for folder in _folders(lake.home / "jobs"):
        key = folder.name.partition(".")[0]
        age = runs.get(key, _age(folder))
        what = "finished: the lake has what it gave" if key in runs else "its run did not end"
        yield _aged(lake, "job", folder, "*", key, age, grace_hours, what)


def _aged(
    lake: Lake, kind: Kind, folder: Path, stage: str, key: str, age: float, after: float, what: str
) -> Thing:
    if lake.claimed(stage, key):
        return Thing(kind, folder.name, _size(folder), False, "a run is at it")
    young = age < after
    return Thing(
        kind,
        folder.name,
        _size(folder),
        not young,
        f"{what}, {_told(age)} old" + (", young" if young else ""),
    )


def _staging(lake: Lake, grace_hours: float) -> Iterator[Thing]:
    for name, age in lake.named("retention/staging").iter_rows():
        if lake.claimed("*", name.rpartition("__")[2]):
            yield Thing("staging table", name, 0, False, "a run is at it")
        else:
            young = age < grace_hours
            why = f"left by a run that did not end, {_told(age)} old" + (", young" if young else "")
            yield Thing("staging table", name, 0, not young, why)


def _episodes(lake: Lake, pinned: Mapping[str, str], days: float) -> Iterator[Thing]:
    for key, age, count in lake.named("retention/rollouts").iter_rows():
        rows = f"{count:,} rollouts, {_told(age)} old"
        if key in pinned:
            yield Thing("episodes", key, 0, False, f"{rows}: {pinned[key]}")
        else:
            yield Thing("episodes", key, 0, age >= 24 * days, rows)


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
