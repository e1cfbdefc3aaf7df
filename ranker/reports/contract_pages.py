"""Data Docs: what the contracts said, as static pages of our own that open offline (inline style, nothing
fetched, no script).

One index and one page a batch, all from the table `contract_checks`. Great Expectations' own Data Docs pull
their style from the network and know nothing of refused batches that have left its store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.resources import shipped
from ranker.types import Fields

FOLDER = "contracts"
"""Folder of the pages, below the data folder."""
TEMPLATES = shipped("reports", "templates")


@dataclass(frozen=True, slots=True)
class Batch:
    """One judged batch: a line of the index."""

    batch_id: str
    stage: str
    accepted: bool
    judged_at: datetime
    expectations: int
    violated: int
    warnings: int
    not_evaluated: int

    @property
    def page(self) -> str:
        return f"{self.stage}-{self.batch_id}{'' if self.accepted else '-refused'}.html"


@dataclass(frozen=True, slots=True)
class Check:
    """What one expectation said: a line of a batch's page."""

    table: str
    expectation: str
    severity: str
    success: bool | None
    observed: str | None
    unexpected_count: int | None
    samples: str | None

    @property
    def word(self) -> str:
        """The verdict in a word, which is also its style."""
        if self.success is None:
            return "not evaluated"
        return "holds" if self.success else "warning" if self.severity == "warning" else "violated"

    @property
    def rows(self) -> tuple[Fields, ...]:
        """The sample rows by column; values that are no rows stand under the column `value`."""
        return tuple(
            row if isinstance(row, dict) else {"value": row} for row in json.loads(self.samples or "[]")
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.rows for column in row))


def batches(lake: Lake) -> tuple[Batch, ...]:
    """Every judged batch, the latest first."""
    return tuple(Batch(**row) for row in lake.named("datadocs/batches").iter_rows(named=True))


def checks(lake: Lake, batch: Batch) -> tuple[Check, ...]:
    """What was said of one batch, by table; what failed comes first."""
    found: pl.DataFrame = lake.named(
        "datadocs/checks", {"key": batch.batch_id, "stage": batch.stage, "accepted": batch.accepted}
    )
    return tuple(Check(**row) for row in found.iter_rows(named=True))


def write(lake: Lake, folder: Path, *, only_new: bool = False) -> Path:
    """Write index.html and a page a batch into `folder`; gives the index.

    Args:
        only_new: leave pages that are younger than their batch's verdicts.

    Raises:
        StageMissing: nothing has been judged yet.
    """
    judged = batches(lake)
    if not judged:
        raise StageMissing(
            "data docs need a judged batch",
            seen="no row in contract_checks",
            remedy="run `ranker retrain`, or any stage, first",
        )
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment()
    for batch in judged:
        if not (only_new and _fresh(folder / batch.page, batch)):
            _put(
                folder / batch.page,
                environment.get_template("batch.html.j2").render(
                    batch=batch, tables=dict(_by_table(checks(lake, batch)))
                ),
            )
    return _put(folder / "index.html", environment.get_template("index.html.j2").render(batches=judged))


def _by_table(found: tuple[Check, ...]) -> Iterator[tuple[str, list[Check]]]:
    for table in dict.fromkeys(check.table for check in found):
        yield table, [check for check in found if check.table == table]


def _fresh(page: Path, batch: Batch) -> bool:
    return page.exists() and page.stat().st_mtime > batch.judged_at.timestamp()


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _put(target: Path, html: str) -> Path:
    """Whole or not at all: somebody may be reading the old page."""
    part = target.with_suffix(".part")
    part.write_text(html, encoding="utf-8")
    return part.replace(target)
