"""run_cached: identity, skipping, forcing, and two runs of one stage at a time."""

from __future__ import annotations

import json
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from grimp.exceptions import ModuleNotPresent

from ranker.config import CandidateParams
from ranker.errors import BadPool, StageMissing
from ranker.lake import Lake, open_lake
from ranker.refs import Ref, digest
from ranker.stages.run import run_cached

FRAME = pl.DataFrame({"task": ["t"], "query_id": ["q"], "item_id": ["i"], "relevance": [1.0]})


def run(lake: Lake, made: list[str], **changes: Any) -> Ref:
    def produce(key: str):
        made.append(key)
        return {"qrels": FRAME}, {"made": len(made)}

    call: dict[str, Any] = {
        "parameters": {"a": 1},
        "inputs": [],
        "roots": ["ranker.stages.run"],
        "check": lambda staged: [],
        "produce": produce,
    }
    return run_cached(lake, "ingest", **(call | changes))


def test_done_work_is_skipped_and_forced_work_repeated(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    made: list[str] = []
    first = run(lake, made)
    with caplog.at_level("INFO", logger="ranker.stages.run"):
        second = run(lake, made)
    assert (
        (first.skipped, second.skipped) == (False, True)
        and first.key == second.key == made[0]
        and len(made) == 1
    )
    assert second.model_copy(update={"skipped": False}) == first
    assert "skipped" in caplog.text
    third = run(lake, made, force=True)
    assert len(made) == 2 and third.snapshot > first.snapshot and third.details == {"made": 2}
    assert lake.rows("select count(*) from qrels").item() == 1


def test_identity_is_parameters_inputs_and_code(lake: Lake) -> None:
    ref = Ref(stage="ingest", key="k", snapshot=1)
    keys = [
        run(lake, [], **change).key
        for change in (
            {},
            {"parameters": {"a": 2}},
            {"inputs": [ref]},
            {"roots": ["ranker.lake.connection"]},
            {"parameters": CandidateParams()},
        )
    ]
    assert len(set(keys)) == 5
    later = ref.model_copy(update={"snapshot": 9, "skipped": True})
    assert run(lake, [], inputs=[later]).skipped, "where an input was committed is no part of the identity"
    row = lake.rows(
        "select inputs, parameters, read_snapshot from stage_runs where batch_id = $key", {"key": keys[2]}
    ).row(0)
    assert row[:2] == (["k"], '{"a": 1}') and row[2] > 0


def test_only_finished_work_is_found_but_not_made(lake: Lake) -> None:
    made: list[str] = []
    with pytest.raises(StageMissing, match="ingest has not"):
        run(lake, made, only_finished=True)
    assert not made
    done = run(lake, made)
    found = run(lake, made, only_finished=True, force=True)
    assert found == done.model_copy(update={"skipped": True}) and made == [done.key]


def test_the_parts_of_an_identity_are_kept(lake: Lake) -> None:
    ref = run(lake, [])
    kept, code = lake.rows(
        "select identity, code from stage_runs where batch_id = $key", {"key": ref.key}
    ).row(0)
    parts = json.loads(kept)
    assert set(parts) == {"modules", "sql", "libraries"} and code == digest(parts)
    assert "ranker/stages/run.py" in parts["modules"] and "sql/lake/finish.sql" in parts["sql"]
    assert parts["libraries"]["duckdb"] == version("duckdb")


def test_failed_production_writes_nothing(lake: Lake) -> None:
    def fail(key: str):
        raise BadPool("no", seen="x", remedy="y")

    before = lake.snapshot()
    with pytest.raises(BadPool):
        run(lake, [], produce=fail)
    assert lake.snapshot() == before and not run(lake, []).skipped


def test_unknown_code_is_refused(lake: Lake) -> None:
    with pytest.raises(ModuleNotPresent):
        run(lake, [], roots=["ranker.nothing_here"])


def test_two_runs_of_one_stage_do_the_work_once(home: Path) -> None:
    made: list[str] = []
    refs: list[Ref] = []

    def slow(key: str):
        made.append(key)
        time.sleep(0.5)
        return {"qrels": FRAME}, {}

    def work() -> None:
        with open_lake(home) as lake:
            refs.append(run(lake, made, produce=slow))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and sorted(ref.skipped for ref in refs) == [False, True]
