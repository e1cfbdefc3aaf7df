"""The commands of the lake."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ranker.cli.commands import ranker


def test_the_lake_tells_its_snapshots_and_differences(written: str) -> None:
    snapshots = json.loads(ranker("lake", "snapshots", "--format", "json").stdout)
    last = snapshots[-1]["snapshot"]
    assert snapshots[-1]["what"] == f"evaluate {written}" and "wrote it" in snapshots[-1]["recorded"]
    changed = json.loads(ranker("lake", "diff", str(last - 1), str(last), "--format", "json").stdout)
    assert {(row["table"], row["batch_id"], row["deleted"]) for row in changed} >= {
        ("evaluations", written, 0),
        ("stage_runs", written, 0),
    }
    rows = ranker(
        "lake", "diff", str(last - 1), str(last), "--table", "comparisons", "--format", "csv"
    ).stdout
    assert len(rows.splitlines()) > 1 and "insert" in rows
    assert ranker("lake", "diff", "0", "99").exit_code == 2


def test_the_lake_gets_smaller_and_keeps_what_is_recorded(written: str, tmp_path: Path) -> None:
    said = ranker("lake", "expire", "--older-than", "0", "--dry-run")
    assert (
        said.exit_code == 0 and f"evaluate {written} read it" in said.stdout and "would expire" in said.stdout
    )
    done = ranker("lake", "expire", "--older-than", "0", "--grace", "0")
    assert done.exit_code == 0 and " expired, " in done.stdout
    assert ranker("lake", "compact", "--grace", "0").exit_code == 0
    assert ranker("query", "select * from leaderboard").exit_code == 0
    exported = ranker("lake", "export", str(tmp_path / "out"), "--table", "evaluations")
    assert exported.exit_code == 0 and (tmp_path / "out" / "evaluations.parquet").is_file()
    assert len(ranker("lake", "attach").stdout.splitlines()) == 2


def test_a_query_may_look_back(written: str) -> None:
    last = json.loads(ranker("lake", "snapshots", "--format", "json").stdout)[-1]["snapshot"]
    counts = [
        json.loads(
            ranker(
                "query", "select count(*) as n from evaluations", "--format", "json", "--at", str(at)
            ).stdout
        )[0]["n"]
        for at in (last - 1, last)
    ]
    assert counts[0] == 0 < counts[1]
    failed = ranker("query", "select 1", "--at", "99")
    assert failed.exit_code == 2 and "lake snapshots" in failed.stderr
