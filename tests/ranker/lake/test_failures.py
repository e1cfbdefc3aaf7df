"""What a lake says, and how often it tries, where a catalog, a server or the disk refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import ranker.lake.attach as catalogs
from ranker.errors import BadLake, LakeBusy, RankerError, Unreachable
from ranker.lake import Lake, failures, open_lake
from tests.ranker.lake.test_connection import ROWS, count, write

HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


def test_busy_catalog_is_a_named_transient_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds SQLite's write lock for longer than the retries last; afterwards all is well."""
    monkeypatch.setattr(failures, "ATTEMPTS", 2)
    monkeypatch.setattr(catalogs, "BUSY_MILLISECONDS", 100)
    script = [sys.executable, "-c", HOLDER, str(lake.home / "lake" / "catalog.sqlite")]
    with (
        open_lake(lake.home) as hasty,
        subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
    ):
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        hasty.execute("set ducklake_max_retry_count = 0")
        with pytest.raises(LakeBusy, match="locked") as caught:
            write(hasty)
        assert (
            f"process {holder.pid} " in caught.value.seen and Path(sys.executable).name in caught.value.seen
        )
        assert f"process {os.getpid()} " not in caught.value.seen
        holder.communicate()
        write(hasty)
    assert count(lake, "qrels") == ROWS


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("TransactionContext Error: Conflict on update!", LakeBusy),
        ("ERROR: could not serialize access due to concurrent update", LakeBusy),
        ("connection to server at 127.0.0.1 failed: Connection refused", Unreachable),
        ("FATAL: the database system is starting up", Unreachable),
        ("HTTP Error: HTTP GET error (HTTP 503)", Unreachable),
        ("IO Error: Cannot open ducklake-01-ab.parquet: no such file", BadLake),
        ("database disk image is malformed", BadLake),
        ("Binder Error: column q not found", None),
    ],
)
def test_what_duckdb_said_is_known_by_its_words(said: str, error: type[RankerError] | None) -> None:
    found = failures.refused(said)
    assert found is None if error is None else type(found) is error and said in found.seen
    assert failures.may_pass(duckdb.Error(said)) == (error in (LakeBusy, Unreachable))


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_what_may_pass_is_tried_again_and_nothing_else(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "ATTEMPTS", 2)
    tried: list[int] = []

    def work() -> str:
        tried.append(1)
        if len(tried) <= fails:
            raise duckdb.Error("database is locked")
        return "done"

    def broken() -> str:
        tried.append(1)
        raise duckdb.Error("column q not found")

    if fails < 2:
        assert failures.repeated(work, "a write", lambda: "nobody") == "done"
    else:
        with pytest.raises(LakeBusy, match=r"(?s)a write: .*locked.*process 7"):
            failures.repeated(work, "a write", lambda: "process 7")
    assert len(tried) == min(fails + 1, 2)
    tried.clear()
    with pytest.raises(duckdb.Error, match="not found"):
        failures.repeated(broken, "a write", lambda: "nobody")
    assert len(tried) == 1
