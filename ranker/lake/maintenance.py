"""Keeping a lake: its snapshots, what changed between two of them, making it smaller, taking it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ranker.errors import BadConfig, BadQuery
from ranker.lake import Lake
from ranker.lake.failures import no_snapshot
from ranker.progress import Progress

DAYS = 30.0
"""Age at which a snapshot may expire.

A run records the snapshot that it read when it commits: keep more days than a run takes.
"""
GRACE_HOURS = 24.0
"""Files that no snapshot needs any more stay for so long: somebody may be reading them."""
MANIFEST = "export.json"
"""Written last: a folder without it is no whole export."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What expiring did, or would do."""

    gone: pl.DataFrame
    """snapshot, at, what."""
    kept: pl.DataFrame
    """The same, with what keeps each (recorded)."""
    files: int
    """Parquet files that were deleted."""


def snapshots(lake: Lake) -> pl.DataFrame:
    """Every snapshot: what made it, and which stage runs and model versions have recorded it."""
    return _with_records(lake, lake.named("lake/snapshots"))


def diff(lake: Lake, first: int, last: int) -> pl.DataFrame:
    """Rows inserted and deleted after snapshot `first`, up to and with `last`, by table and batch.

    Raises:
        BadQuery: one of them does not exist, or they stand in the wrong order.
    """
    _both(lake, first, last)
    tables = lake.named("lake/tables").filter("batched")["name"]
    return pl.concat(
        [lake.named("lake/changes", {"table": table, "first": first, "last": last}) for table in tables]
    )


def changed(lake: Lake, table: str, first: int, last: int) -> pl.DataFrame:
    """The rows themselves that `diff` counts for one table.

    Raises:
        BadQuery: there is no such table, or as `diff`.
    """
    _both(lake, first, last)
    known = lake.named("lake/tables").filter("batched")["name"].to_list()
    if table not in known:
        raise BadQuery("the table must exist", seen=repr(table), remedy=f"choose one of {', '.join(known)}")
    return lake.named("lake/changed_rows", {"table": table, "first": first, "last": last})


def expire(
    lake: Lake,
    *,
    days: float = DAYS,
    grace_hours: float = GRACE_HOURS,
    dry_run: bool = False,
    keys: Collection[str] | None = None,
) -> Expired:
    """Forget snapshots older than `days`, except the current one and all that a stage run or model version
    records; with `keys`, that one of these stage runs records.

    Files that no snapshot needs any more are deleted `grace_hours` after they were found to be unneeded: by
    this call, or by a later one.
    """
    old = _with_records(lake, lake.named("lake/expirable", {"days": days}), keys)
    gone, kept = old.filter(pl.col("recorded") == "").drop("recorded"), old.filter(pl.col("recorded") != "")
    if dry_run:
        return Expired(gone, kept, 0)
    if gone.height:
        with Progress(f"forgetting {gone.height:,} snapshots"):
            lake.maintain("lake/expire", {"snapshots": gone["snapshot"].to_list()})
    return Expired(gone, kept, clean(lake, grace_hours))


def compact(lake: Lake, *, grace_hours: float = GRACE_HOURS) -> tuple[pl.DataFrame, int]:
    """Merge small Parquet files, every snapshot staying readable: (files before and after by table, files
    deleted).
    """
    with Progress("merging small files of the lake"):
        merged = lake.maintain("lake/compact")
    return merged, clean(lake, grace_hours)


def clean(lake: Lake, grace_hours: float = GRACE_HOURS) -> int:
    """Delete the files that were found to be unneeded at least `grace_hours` ago; gives their number."""
    with Progress("deleting files that no snapshot needs"):
        return lake.maintain("lake/clean", {"hours": grace_hours}).height


def orphans(lake: Lake, grace_hours: float = GRACE_HOURS, dry_run: bool = False) -> list[str]:
    """Delete what killed writers left among the lake's files; gives the paths. None goes where DuckLake names
    one that a snapshot needs (it once did, its issue 815).

    Args:
        grace_hours: longer than any write takes: a writer's files are known to no snapshot before its commit.
    """
    params = {"hours": grace_hours}
    with Progress("looking for what killed writers left"):
        found = lake.maintain("lake/orphans", params | {"dry": True})["path"].to_list()
    live = set(lake.named("lake/live_files")["name"])
    if dry_run or not found or any(path.rpartition("/")[2] in live for path in found):
        return found if dry_run else []
    return lake.maintain("lake/orphans", params | {"dry": False})["path"].to_list()


def export(lake: Lake, folder: Path, tables: Iterable[str] = ()) -> pl.DataFrame:
    """Write tables (without names: all) as one Parquet file each, all of one snapshot, with a manifest of
    rows.

    Raises:
        BadConfig: the folder is not empty.
        BadQuery: a table does not exist.
    """
    known = lake.named("lake/tables")["name"].to_list()
    chosen = list(tables) or known
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise BadQuery(
            "the table must exist", seen=", ".join(unknown), remedy=f"choose among {', '.join(known)}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise BadConfig(
            "an export goes into an empty folder",
            seen=f"{folder} holds files",
            remedy="name another folder, or empty it",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with Progress("writing tables", len(chosen)) as progress:
        rows = {table: lake.save(table, folder / f"{table}.parquet") for table in progress.over(chosen)}
    (folder / MANIFEST).write_text(
        json.dumps({"snapshot": lake.snapshot(), "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    return pl.DataFrame({"table": list(rows), "rows": list(rows.values())})


def _with_records(lake: Lake, found: pl.DataFrame, keys: Collection[str] | None = None) -> pl.DataFrame:
    """No view does this: a reader's lake may have been written by an older version of this project."""
    records = lake.named("lake/recorded", {"keys": None if keys is None else list(keys)})
    seconds = pl.col("at").dt.truncate("1s")
    return found.join(records, on="snapshot", how="left", maintain_order="left").with_columns(
        seconds, pl.col("recorded").fill_null("")
    )


def _both(lake: Lake, first: int, last: int) -> None:
    known = set(lake.named("lake/snapshots")["snapshot"])
    for snapshot in (first, last):
        if snapshot not in known:
            raise no_snapshot(snapshot)
    if first > last:
        raise BadQuery(
            "a difference goes forward in time", seen=f"{first} to {last}", remedy=f"ask for {last} {first}"
        )
