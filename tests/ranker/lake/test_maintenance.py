"""Keeping a lake: what expires and what never does, differences, compaction, export, the way for plain
DuckDB.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ranker.errors import BadConfig, BadQuery
from ranker.lake import Lake, maintenance, open_lake
from ranker.lake.connection import attach_lines
from tests.ranker.evaluated import ACCEPT, scored, trained
from tests.ranker.lake.test_connection import count, qrels, write


@pytest.fixture
def four(lake: Lake) -> tuple[Lake, list[int]]:
    """Four commits, the third of which replaces the first; their snapshots."""
    return lake, [
        write(lake, key, frame=qrels(n)).snapshot
        for key, n in (("k1", 1000), ("k2", 500), ("k1", 700), ("k3", 20))
    ]


def rows_at(lake: Lake, snapshot: int) -> int:
    return lake.rows(f"select count(*) from qrels at (version => {snapshot})").item()


def test_snapshots_say_what_made_them_and_who_recorded_them(four: tuple[Lake, list[int]]) -> None:
    lake, commits = four
    found = {row["snapshot"]: row for row in maintenance.snapshots(lake).iter_rows(named=True)}
    assert list(found) == sorted(found) and max(found) == lake.snapshot()
    assert (
        found[commits[1]]["what"] == "ingest k2"
        and found[commits[1]]["recorded"] == "ingest k1 read it, ingest k2 wrote it"
    )
    assert found[commits[0]]["recorded"] == "ingest k2 read it", "the run that wrote it was repeated since"
    assert "tables created: 1" in found[commits[1] - 1]["what"] and not found[commits[1] - 1]["recorded"]


def test_diff_counts_rows_by_table_and_batch(four: tuple[Lake, list[int]]) -> None:
    lake, commits = four
    found = maintenance.diff(lake, commits[0], commits[3]).filter(table="qrels").drop("table").rows()
    assert found == [("k1", 700, 1000), ("k2", 500, 0), ("k3", 20, 0)]
    assert maintenance.diff(lake, commits[3], commits[3]).is_empty()
    rows = maintenance.changed(lake, "qrels", commits[2], commits[3])
    assert rows.height == 20 and set(rows["change_type"]) == {"insert"} and set(rows["batch_id"]) == {"k3"}


def test_diff_survives_expired_snapshots_between(four: tuple[Lake, list[int]]) -> None:
    lake, commits = four
    before = maintenance.diff(lake, commits[0], commits[3])
    maintenance.expire(lake, days=0, grace_hours=0)
    assert commits[0] + 1 not in maintenance.snapshots(lake)["snapshot"].to_list()
    assert maintenance.diff(lake, commits[0], commits[3]).equals(before)


@pytest.mark.parametrize(("first", "last", "says"), [(99, 100, "no snapshot 99"), (1, 0, "forward in time")])
def test_diff_between_what_is_not_there(lake: Lake, first: int, last: int, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        maintenance.diff(lake, first, last)
    with pytest.raises(BadQuery, match="'steppes'"):
        maintenance.changed(lake, "steppes", 0, 1)


def test_expire_keeps_what_is_recorded_and_says_why(four: tuple[Lake, list[int]]) -> None:
    lake, commits = four
    recorded = {
        s for pair in lake.rows("select read_snapshot, snapshot_id from stage_runs").rows() for s in pair
    }
    before = {snapshot: rows_at(lake, snapshot) for snapshot in recorded}
    said = maintenance.expire(lake, days=0, dry_run=True)
    assert rows_at(lake, said.gone["snapshot"][-1]) >= 0, "a dry run changes nothing"
    done = maintenance.expire(lake, days=0, grace_hours=0)
    assert done.gone.equals(said.gone) and done.kept.equals(said.kept) and done.files > 0
    left = set(maintenance.snapshots(lake)["snapshot"])
    assert recorded | {lake.snapshot()} == left and not recorded & set(done.gone["snapshot"])
    assert {snapshot: rows_at(lake, snapshot) for snapshot in recorded} == before
    assert all(done.kept["recorded"].str.contains("ingest"))
    with open_lake(lake.home, snapshot=commits[1]) as then:
        assert count(then, "qrels") == 1500
    with pytest.raises(BadQuery, match="expired"):
        open_lake(lake.home, snapshot=commits[1] - 1)


def test_expire_keeps_what_an_evaluation_and_a_model_version_record(lake: Lake) -> None:
    of = trained(lake, "aaaa")
    scores = scored(lake, "aa01", of)
    version = {
        "name": "m",
        "version": "3",
        "run_id": "r",
        "train_key": "aaaa",
        "evaluate_key": "aa01",
        "alias": "champion",
        "verdict": "v",
    }
    frame = pl.DataFrame([version]).with_columns(
        registered_at=pl.lit("2026-01-01").str.to_datetime(time_zone="UTC")
    )
    lake.write(
        "register",
        "r1",
        {"model_versions": frame},
        inputs=["aaaa", "aa01"],
        parameters="{}",
        code="c",
        read_snapshot=scores.snapshot,
        details={},
        check=ACCEPT,
    )
    write(lake, "later")
    kept = {
        row["snapshot"]: row["recorded"]
        for row in maintenance.expire(lake, days=0).kept.iter_rows(named=True)
    }
    assert "m version 3 rests on it" in kept[of.snapshot] and "train aaaa wrote it" in kept[of.snapshot]
    assert (
        "m version 3 rests on it" in kept[scores.snapshot] and "register r1 read it" in kept[scores.snapshot]
    )


def test_young_snapshots_stay(four: tuple[Lake, list[int]]) -> None:
    lake, _ = four
    before = maintenance.snapshots(lake)
    done = maintenance.expire(lake)
    assert (done.gone.height, done.kept.height, done.files) == (0, 0, 0) and maintenance.snapshots(
        lake
    ).equals(before)


def test_compact_leaves_fewer_files_and_every_snapshot(lake: Lake) -> None:
    commits = [write(lake, f"k{i}", frame=qrels(200)).snapshot for i in range(4)]
    before = [rows_at(lake, snapshot) for snapshot in commits]
    merged, files = maintenance.compact(lake, grace_hours=0)
    assert (
        merged.filter(table="main.qrels").select("files_before", "files_after").rows() == [(4, 1)]
        and files >= 4
    )
    assert [rows_at(lake, snapshot) for snapshot in commits] == before == [200, 400, 600, 800]
    assert len(list((lake.home / "lake" / "data" / "main" / "qrels").glob("*.parquet"))) == 1
    assert [lake.finished("ingest", f"k{i}").snapshot for i in range(4)] == commits  # type: ignore[union-attr]


def test_unneeded_files_stay_for_a_while(lake: Lake) -> None:
    for i in range(3):
        write(lake, f"k{i}", frame=qrels(200))
    assert maintenance.compact(lake)[1] == 0 and maintenance.clean(lake, 0) >= 3


def test_export_is_plain_parquet_of_one_snapshot(four: tuple[Lake, list[int]], tmp_path: Path) -> None:
    lake, commits = four
    with open_lake(lake.home, snapshot=commits[0]) as then:
        shown = maintenance.export(then, tmp_path / "all")
    assert (
        set(shown["table"])
        == {path.stem for path in (tmp_path / "all").glob("*.parquet")}
        >= {"qrels", "episodes", "stage_runs"}
    )
    assert pl.read_parquet(tmp_path / "all" / "qrels.parquet").height == 1000
    manifest = json.loads((tmp_path / "all" / "export.json").read_text())
    assert (
        manifest["snapshot"] == commits[0]
        and manifest["rows"]["qrels"] == 1000
        and manifest["rows"]["episodes"] == 0
    )
    assert maintenance.export(lake, tmp_path / "one", ["qrels"]).rows() == [("qrels", 1220)]
    with pytest.raises(BadConfig, match="empty folder"):
        maintenance.export(lake, tmp_path / "one")
    with pytest.raises(BadQuery, match="steppes"):
        maintenance.export(lake, tmp_path / "two", ["steppes"])


def test_the_two_lines_give_plain_duckdb_the_lake_and_no_right_to_write(four: tuple[Lake, list[int]]) -> None:
    lake, _ = four
    lines = attach_lines(lake.home)
    with duckdb.connect() as plain:
        for line in lines:
            plain.execute(line)
        assert plain.execute("select count(*) from qrels").fetchall() == [(1220,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            plain.execute("delete from qrels")
