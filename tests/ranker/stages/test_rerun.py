"""Why a stage runs again, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from ranker.config import IngestParams, TrainParams
from ranker.lake import Lake, open_lake
from ranker.refs import Ref
from ranker.stages import ingest
from ranker.stages.identity import Code, code
from ranker.stages.rerun import MOST, reasons
from ranker.stages.run import run_cached

SOURCE = Ref(stage="candidates", key="one", snapshot=1)
OTHER = Ref(stage="distill", key="two", snapshot=1)
ROOT = "ranker.stages.run"


def run(lake: Lake, parameters: Any, inputs: tuple[Ref, ...] = (SOURCE, OTHER)) -> Ref:
    return run_cached(
        lake,
        "train",
        parameters=parameters,
        inputs=inputs,
        roots=[ROOT],
        check=lambda staged: [],
        produce=lambda key: ({"qrels": pl.DataFrame()}, {}),
    )


def why(lake: Lake, parameters: Any, now: Code, inputs: tuple[Ref, ...] = (SOURCE, OTHER)) -> list[str]:
    return reasons(lake, "train", parameters, inputs, now)


def test_every_part_that_differs_is_named(lake: Lake) -> None:
    params, now = TrainParams(), code(ROOT)
    assert why(lake, params, now) == ["nothing earlier"]
    run(lake, params)
    assert why(lake, params, now) == []
    newer = replace(now, libraries=now.libraries | {"duckdb": "99.9"})
    assert why(lake, params, newer) == [f"duckdb {now.libraries['duckdb']} → 99.9"]
    file, table = "ranker/lake/connection.py", "sql/lake/finish.sql"
    edited = replace(now, modules=now.modules | {file: "0"}, sql=now.sql | {table: "0", "sql/new.sql": "0"})
    assert why(lake, params, edited) == [f"{file} changed", f"{table} changed", "sql/new.sql is new to it"]
    changed = params.model_copy(update={"heartbeat_seconds": params.heartbeat_seconds + 5})
    before, after = params.heartbeat_seconds, changed.heartbeat_seconds
    assert why(lake, changed, now) == [f"train.heartbeat_seconds {before} → {after}"]
    assert why(lake, params, now, (SOURCE, OTHER.model_copy(update={"key": "three"}))) == [
        "its input distill changed"
    ]


def test_what_was_taken_away_is_done_again_and_said(lake: Lake) -> None:
    params = TrainParams()
    done = run(lake, params)
    lake.forget(done.key, ("qrels",), again=True)
    assert why(lake, params, code(ROOT)) == ["`ranker gc` has taken its rows away"]
    again = run(lake, params)
    assert again.key == done.key and not again.skipped and run(lake, params).skipped


def test_many_reasons_are_counted(lake: Lake) -> None:
    run(lake, {"params": {str(number): 0 for number in range(20)}})
    shown = why(lake, {"params": {str(number): 1 for number in range(20)}}, code(ROOT))
    assert len(shown) == MOST + 1 and shown[0] == "train.0 0 → 1" and shown[-1] == f"{20 - MOST} more"


def test_it_is_compared_with_the_run_most_like_it(lake: Lake) -> None:
    run(lake, {"tasks": ["films"], "seed": 1})
    run(lake, {"tasks": ["films"], "seed": 2})
    run(lake, {"tasks": ["papers"], "seed": 3})
    assert why(lake, {"tasks": ["films"], "seed": 4}, code(ROOT)) == ["train.seed 2 → 4"]


def test_a_lake_from_before_is_read_and_says_what_it_cannot(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """The lake as the version before left it: no record of parts, the migration not applied."""
    params = IngestParams(tasks=("synthetic",))
    ref = ingest.run(lake, params, check=lambda staged: [])
    lake.execute("update stage_runs set batch_id = 'former', identity = null")
    lake.execute("update items set batch_id = 'former'")
    lake.execute("alter table stage_runs drop column identity")
    lake.execute("delete from migrations where name = '0012_identity.sql'")
    with open_lake(lake.home) as now, caplog.at_level("INFO", logger="ranker.stages.run"):
        former = now.finished("ingest", "former")
        again = ingest.run(now, params, check=lambda staged: [])
        rows = now.rows("select count(*) from items where batch_id = 'former'").item()
    assert former is not None and former.rows == ref.rows and rows == ref.rows["items"]
    assert not again.skipped and again.key == ref.key
    assert "must run: the run of" in caplog.text and "kept no record of its code and libraries" in caplog.text
