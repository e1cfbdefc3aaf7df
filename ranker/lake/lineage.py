"""Where a stage run came from: itself and all that it was made from, as the lake's stage_runs tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from ranker.lake.connection import Lake
from ranker.refs import sections
from ranker.types import JsonObject


@dataclass(frozen=True, slots=True)
class Run:
    """One finished stage."""

    stage: str
    key: str
    inputs: tuple[str, ...]
    """Keys of the runs that it read."""
    read_snapshot: int
    code: str
    rows: dict[str, int]
    parameters: JsonObject
    details: JsonObject
    finished_at: datetime


def of(lake: Lake, key: str) -> tuple[Run, ...]:
    """The run `key` and its ancestors, in the order in which they finished; empty where there is no such
    run.
    """
    return tuple(_run(row) for row in lake.named("report/lineage", {"batch_id": key}).iter_rows(named=True))


def _run(row: JsonObject) -> Run:
    return Run(
        stage=row["stage"],
        key=row["batch_id"],
        inputs=tuple(row["inputs"]),
        read_snapshot=row["read_snapshot"],
        code=row["code"],
        rows=json.loads(row["rows_written"]),
        parameters=sections(json.loads(row["parameters"])),
        details=json.loads(row["details"]),
        finished_at=row["finished_at"],
    )
