"""Seeded defects, one by one, in batches that stages really wrote: each is caught by the expectation that is
meant for it.

A defect is one SQL statement on the tables of a batch that had passed, as the judge sees them; `{table}` is
its table. The judge attaches the lake once a stage and judges one table a defect: that what fails an error
keeps a batch out, and what fails a warning does not, is tested where whole batches are judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from contracts import gate
from ranker.lake import Lake
from ranker.lake.connection import fill
from ranker.refs import Ref, Staged, Verdict

Defect = tuple[str, str, str]
"""Stage, expectation (the start of its name), statement."""
ONE_SET = "select min(set_id) from {candidate_sets} where task = 'rec-movie'"
ONE_EPISODE = "select min(episode_id) from {episodes} where strategy = 'iterative'"
OWN_SETS = "batch_id in (select batch_id from stage_runs where stage = 'candidates')"


@dataclass(frozen=True)
class Road:
    """The lake after six stages, their batches laid out again in staging, and a judge of each, once asked
    for.
    """

    lake: Lake
    refs: dict[str, Ref]
    open: ExitStack = field(default_factory=ExitStack)
    judges: dict[str, tuple[Staged, Any]] = field(default_factory=dict)

    def staged(self, stage: str) -> Staged:
        run = self.lake.rows("select * from stage_runs where stage = $stage", {"stage": stage}).row(
            0, named=True
        )
        tables = {table: f"staging.{table}__{run['batch_id']}" for table in json.loads(run["rows_written"])}
        return Staged(
            stage, run["batch_id"], tables, self.lake.home, "", tuple(run["inputs"]), run["parameters"]
        )

    def lay_out(self, staged: Staged, tables: Sequence[str]) -> None:
        """Put the committed rows back into staging."""
        for table in tables:
            sql = fill(
                "create or replace table {staging} as from {table} where batch_id = $key",
                staging=staged.tables[table],
                table=table,
            )
            self.lake.execute(sql, {"key": staged.key})

    def judging(self, stage: str) -> tuple[Staged, Any]:
        """The batch of a stage, and the source that shows it to Great Expectations."""
        if stage not in self.judges:
            staged = self.staged(stage)
            source = self.open.enter_context(gate._source(staged))
            for table in staged.tables:
                execute(source, f"create temp table kept_{table} as from staged_{table}")
            self.judges[stage] = staged, source
        return self.judges[stage]


def execute(source: Any, sql: str) -> None:
    """A statement on the tables that the judge sees."""
    with source.get_execution_engine().get_connection() as connection:
        try:
            connection.exec_driver_sql(sql)
            connection.commit()  # a later failure of the judge's own would take it back
        finally:
            connection.rollback()  # nothing, where it was committed


def verdicts(road: Road, stage: str, table: str) -> list[Verdict]:
    """What is said of one table of a stage's batch as it is now."""
    staged, source = road.judging(stage)
    try:
        return [found.verdict for found in gate._judged(table, source, gate._suite(table, staged))]
    finally:
        source.delete_asset(table)


EARLIEST = (
    "select s.set_id from {candidate_sets} s join {candidates} c using (set_id) join interactions n"
    " on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id"
    " where s.task = 'rec-movie' and s.split = 'train' and c.relevance > 0"
    " order by n.happened_at, s.set_id limit 1"
)
"""The set whose target came first of all: its user has touched something later. Which id is the least depends
on the code that drew the sets.
"""


def caught(road: Road, table: str, defect: Defect) -> None:
    """Assert that the expectation meant for a defect finds it in `table`, and shows what it found."""
    stage, expectation, statement = defect
    staged, source = road.judging(stage)
    execute(source, statement.format(**{name: f"staged_{name}" for name in staged.tables}))
    try:
        failed = [v for v in verdicts(road, stage, table) if v.success is False]
    finally:
        for name in staged.tables:
            if f"{{{name}}}" in statement:
                execute(source, f"create or replace temp table staged_{name} as from kept_{name}")
    found = [v for v in failed if v.expectation.startswith(expectation)]
    assert found, f"caught by {sorted(v.expectation for v in failed)} instead"
    assert all(v.samples for v in found if v.expectation != "has rows"), "what is caught is shown"
    severity = "warning" if "drift" in expectation or expectation.endswith("a share 0 ") else "error"
    assert {v.severity for v in found} == {severity}


def named(defect: Defect) -> str:
    """A short name for a test."""
    return f"{defect[0]}-{defect[1].partition(':')[0]}"
