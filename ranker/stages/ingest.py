"""Stage 1: read every task's source into the normalised tables `sources`, `items`, `interactions`, `queries`,
`qrels`.

The stage's identity is what was read (content digests), not where it lay or when: ingesting the same again
adds nothing.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import polars as pl

from ranker import config
from ranker.config import IngestParams, Task
from ranker.datasets import download, readers
from ranker.datasets.bundle import Bundle
from ranker.errors import BadConfig
from ranker.lake import Lake
from ranker.progress import Progress
from ranker.refs import Check, Ref
from ranker.stages.run import run_cached
from ranker.types import JsonObject

log = logging.getLogger("ranker.stages.ingest")
TABLES = ("items", "interactions", "queries", "qrels")


def run(
    lake: Lake, params: IngestParams, *, check: Check, force: bool = False, only_finished: bool = False
) -> Ref:
    """Read all tasks of `params` and write them in one commit.

    Returns:
        A Ref whose details hold, by task: location, digest, rows by table, and what a stated rule left out
        (in words → count).

    Raises:
        BadSource: an input is missing or malformed; names file, row and remedy.
        BadConfig: a task does not exist, or a location is given for a task that is not read.
        Unreachable: a source named by its address has not come yet, and cannot be had now.
    """
    tasks = _tasks(params)
    for task in tasks:
        _bring(lake.home, params, task, refresh=not only_finished)
    places = {task.name: location(lake.home, params, task) for task in tasks}
    with Progress("looking at the data, tasks", len(tasks), log.info) as progress:
        digests = {task.name: readers.digest(task, places[task.name]) for task in progress.over(tasks)}
    identity = [
        {
            "task": t.name,
            "scenario": t.scenario,
            "reader": t.reader,
            "options": t.options,
            "content": digests[t.name],
        }
        for t in tasks
    ]

    def produce(_key: str):
        with Progress("reading the data, tasks", len(tasks), log.info) as progress:
            bundles = {task.name: readers.read(task, places[task.name]) for task in progress.over(tasks)}
        facts = [
            _facts(task, bundles[task.name], _named(params, task, bundles[task.name]), digests[task.name])
            for task in tasks
        ]
        tables = {"sources": pl.DataFrame(facts), **{table: _all(table, bundles) for table in TABLES}}
        return tables, {
            "tasks": {
                t.name: _counts(bundles[t.name], _named(params, t, bundles[t.name]), digests[t.name])
                for t in tasks
            }
        }

    return run_cached(
        lake,
        "ingest",
        parameters=identity,
        inputs=[],
        roots=[__name__],
        check=check,
        force=force,
        only_finished=only_finished,
        produce=produce,
    )


def asked_for(params: IngestParams, task: Task) -> str:
    """A task's location in words: as given by the caller, else the task's own; empty where it needs none."""
    return params.locations.get(task.name, "") or task.location


def location(home: Path, params: IngestParams, task: Task) -> Path | None:
    """Where a task's data lies on this machine, or will once it is downloaded; None where it needs none.

    A caller's path counts from the working folder, a task's own from `home`. Links stay as they are: what
    lies beside a link is meant, not what lies beside its target (a cache of the hub has links alone).
    """
    asked = asked_for(params, task)
    if download.is_remote(asked):
        return download.place(home, asked)
    if params.locations.get(task.name):
        return Path(os.path.expanduser(asked)).absolute()
    return home / os.path.expanduser(asked) if asked else None


def _bring(home: Path, params: IngestParams, task: Task, refresh: bool) -> None:
    asked = asked_for(params, task)
    if download.is_remote(asked):
        download.bring(
            home,
            asked,
            log.info,
            refresh_hours=params.refresh_hours if refresh else None,
            fall_back=params.on_unreachable == "keep",
        )


def _named(params: IngestParams, task: Task, bundle: Bundle) -> str:
    """Where it was read, for the record: the address, where there is one."""
    asked = asked_for(params, task)
    return download.display_name(asked) if download.is_remote(asked) else bundle.location


def _tasks(params: IngestParams) -> list[Task]:
    stray = sorted(set(params.locations) - set(params.tasks))
    if stray:
        raise BadConfig(
            "ingest.locations names only tasks that are read",
            seen=", ".join(stray),
            remedy=f"add it to ingest.tasks ({', '.join(params.tasks)}), or drop it",
        )
    return [config.task(name) for name in dict.fromkeys(params.tasks)]


def _facts(task: Task, bundle: Bundle, where: str, digest: str) -> dict[str, str | int]:
    return {
        "task": task.name,
        "reader": task.reader,
        "location": where,
        "content_digest": digest,
        "rows_read": bundle.rows_read,
    }


def _all(table: str, bundles: dict[str, Bundle]) -> pl.DataFrame:
    parts = [
        getattr(bundle, table).with_columns(pl.lit(name).alias("task")) for name, bundle in bundles.items()
    ]
    return pl.concat(parts, how="diagonal")  # qrels of a run have a column more


def _counts(bundle: Bundle, where: str, digest: str) -> JsonObject:
    left_out = {"left_out": dict(bundle.left_out)} if bundle.left_out else {}
    return {
        "location": where,
        "digest": digest,
        **{table: getattr(bundle, table).height for table in TABLES},
        **left_out,
    }
