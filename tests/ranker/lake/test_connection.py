"""The lake: staging, commit, quarantine, migrations, and what is left when a process dies in the middle."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

import ranker.lake.connection as module
from ranker.errors import BadConfig, ContractViolated, StageMissing
from ranker.lake import Lake, open_lake
from ranker.lake.connection import LakeNewer, LakeOlder, MigrationEdited, MigrationFailed
from ranker.refs import PROJECT, Ref, Staged, Verdict
from ranker.strategies.episodes import EPISODES, STEPS
from tests.contracts import batches

ROWS = 1_000


def qrels(n: int = ROWS, relevance: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "task": ["t"] * n,
            "query_id": [f"q{i}" for i in range(n)],
            "item_id": ["i"] * n,
            "relevance": [relevance] * n,
        }
    )


def accept(staged: Staged) -> list[Verdict]:
    return [Verdict("qrels", "is fine", True, "1", 0)]


def refuse(staged: Staged) -> list[Verdict]:
    raise ContractViolated("refused", seen="x", remedy="y")


def write(lake: Lake, key: str = "k1", check=accept, frame: pl.DataFrame | None = None) -> Ref:
    return lake.write(
        "ingest",
        key,
        {"qrels": qrels() if frame is None else frame},
        inputs=["a", "b"],
        parameters="{}",
        code="c",
        read_snapshot=lake.snapshot(),
        details={"path": Path("x"), "n": 1},
        check=check,
    )


def count(lake: Lake, table: str) -> int:
    return lake.rows(f"select count(*) from {table}").item()


def left_in(lake: Lake, schema: str) -> list[str]:
    return lake.rows(
        "select table_name from duckdb_tables() where schema_name = $schema", {"schema": schema}
    )["table_name"].to_list()


@pytest.mark.parametrize(("given", "threads"), [("3", "3"), ("0", None), ("many", None), ("", None)])
def test_omp_num_threads_bounds_duckdb_too(
    given: str, threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert module._threads().get("threads") == threads


def test_every_connection_of_these_tests_has_the_threads_asked_for(lake: Lake) -> None:
    assert lake.rows("select current_setting('threads')").item() == int(os.environ["OMP_NUM_THREADS"])


def test_write_commits_rows_with_their_verdicts_and_the_mark(lake: Lake) -> None:
    seen: list[Staged] = []
    ref = write(lake, check=lambda staged: seen.append(staged) or accept(staged))
    assert seen[0].tables == {"qrels": "staging.qrels__k1"} and seen[0].inputs == ("a", "b")
    assert (
        ref.rows == {"qrels": ROWS}
        and ref.details == {"path": "x", "n": 1}
        and ref.snapshot == lake.snapshot()
    )
    assert lake.rows("select distinct batch_id from qrels").item() == "k1"
    assert lake.rows("select stage, expectation from contract_results").row(0) == ("ingest", "is fine")
    assert (
        lake.finished("ingest", "k1") == ref
        and lake.finished("ingest", "k2") is None
        and lake.finished("train", "k1") is None
    )
    assert not left_in(lake, "staging")
    message = lake.rows(
        "select commit_message from lake.snapshots() where snapshot_id = $id", {"id": ref.snapshot}
    ).item()
    assert message == "ingest k1"


def test_snapshot_reads_the_past(lake: Lake) -> None:
    first = write(lake)
    write(lake, "k2")
    assert count(lake, "qrels") == 2 * ROWS
    assert count(lake, f"qrels at (version => {first.snapshot})") == ROWS


def test_forced_repeat_replaces(lake: Lake) -> None:
    write(lake)
    again = write(lake, frame=qrels(3, relevance=2.0))
    assert count(lake, "qrels") == 3 and lake.rows("select distinct relevance from qrels").item() == 2.0
    assert count(lake, "stage_runs") == 1 and count(lake, "contract_results") == 1
    assert lake.finished("ingest", "k1") == again


def test_refused_batch_lies_in_quarantine_until_a_good_one_comes(lake: Lake) -> None:
    with pytest.raises(ContractViolated):
        write(lake, check=refuse)
    assert (count(lake, "qrels"), count(lake, "stage_runs"), count(lake, "quarantine.qrels__k1")) == (
        0,
        0,
        ROWS,
    )
    assert not left_in(lake, "staging")
    write(lake)
    assert count(lake, "qrels") == ROWS and not left_in(lake, "quarantine")


def judged(lake: Lake) -> list[tuple]:
    return lake.rows(
        "select expectation, severity, success, accepted, samples from contract_checks order by all"
    ).rows()


def test_what_was_said_of_a_refused_batch_is_kept_until_a_good_one_comes(lake: Lake) -> None:
    said = [
        Verdict("qrels", "is fine", True),
        Verdict("qrels", "is long", False, "3", 3, samples='[{"n": 1}]'),
        Verdict("qrels", "is odd", None),
    ]

    def refuse_with_reasons(staged: Staged) -> list[Verdict]:
        raise ContractViolated("refused", seen="x", remedy="y", verdicts=said)

    with pytest.raises(ContractViolated):
        write(lake, check=refuse_with_reasons)
    refused = [
        ("is fine", "error", True, False, None),
        ("is long", "error", False, False, '[{"n": 1}]'),
        ("is odd", "error", None, False, None),
    ]
    assert judged(lake) == refused
    write(lake, check=lambda staged: [Verdict("qrels", "is short", False, "3", 3, "warning")])
    assert judged(lake) == [("is short", "warning", False, True, None)]
    with pytest.raises(ContractViolated):
        write(lake, check=refuse_with_reasons)
    assert judged(lake) == [
        *refused,
        ("is short", "warning", False, True, None),
    ], "a repeat that is refused leaves the accepted batch and its verdicts"
    assert count(lake, "contract_results") == 4


def test_verdicts_travel_with_their_error(lake: Lake) -> None:
    refused = ContractViolated("a", seen="b", remedy="c", verdicts=[Verdict("qrels", "is fine", True)])
    again = pickle.loads(pickle.dumps(refused))
    assert again.verdicts == refused.verdicts and str(again) == str(refused)


def test_verdicts_of_older_lakes_move_to_contract_checks(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "migrations" / "0005_contract_checks.sql").rename(tmp_path / "later.sql")
    (sql / "views" / "contract_results.sql").rename(tmp_path / "view.sql")
    with open_lake(home) as lake:
        lake.execute(
            "insert into contract_results values ('k', 'ingest', 'qrels', 'is fine', true, '1', 0, now())"
        )
    monkeypatch.undo()
    with open_lake(home) as lake:
        assert judged(lake) == [("is fine", "error", True, True, None)]
        assert lake.rows("select batch_id, expectation, success, observed from contract_results").row(0) == (
            "k",
            "is fine",
            True,
            "1",
        )


def test_nulls_and_absent_columns_reach_the_contract(lake: Lake) -> None:
    """Staging takes what the main table would not, so that a contract and not an engine says what is
    wrong.
    """
    with pytest.raises(ContractViolated):
        write(lake, check=refuse, frame=qrels(2).drop("relevance"))
    assert lake.rows("select count(*) from quarantine.qrels__k1 where relevance is null").item() == 2


def test_parquet_files_and_empty_frames(lake: Lake, tmp_path: Path) -> None:
    for number in range(2):
        qrels(5).write_parquet(tmp_path / f"{number}.parquet")
    tables = {"qrels": sorted(tmp_path.glob("*.parquet")), "queries": [], "items": pl.DataFrame()}
    ref = lake.write(
        "ingest", "k", tables, inputs=[], parameters="{}", code="c", read_snapshot=0, details={}, check=accept
    )
    assert ref.rows == {"qrels": 10, "queries": 0, "items": 0}


def test_queries_by_name_and_over_frames(lake: Lake) -> None:
    lake.register("chosen", pl.DataFrame({"query_id": ["q1", "q7"]}))
    write(lake)
    assert lake.rows("select count(*) from qrels semi join chosen using (query_id)").item() == 2
    assert lake.named("lake/finished", {"stage": "ingest", "key": "k1"}).height == 1


def test_reading_needs_a_lake_and_cannot_write(home: Path) -> None:
    with pytest.raises(StageMissing, match="ranker retrain"):
        open_lake(home, read_only=True)
    assert not (home / "lake").exists()
    with open_lake(home) as lake:
        write(lake)
    with open_lake(home, read_only=True) as reader:
        assert count(reader, "qrels") == ROWS
        with pytest.raises(Exception, match="read-only"):
            reader.execute("delete from qrels")


def test_other_catalogs_go_by_uri(tmp_path: Path) -> None:
    uri = f"ducklake:sqlite:{tmp_path}/other.sqlite?data_path={tmp_path}/parquet/"
    with open_lake(tmp_path / "home", uri) as lake:
        write(lake)
    assert list((tmp_path / "parquet").rglob("*.parquet"))
    with open_lake(tmp_path / "home", uri, read_only=True) as lake:
        assert count(lake, "qrels") == ROWS
    with pytest.raises(BadConfig, match="starts with ducklake:"):
        open_lake(tmp_path / "home", "postgres:host=x")


def test_data_folder_may_be_moved(home: Path, tmp_path: Path) -> None:
    with open_lake(home) as lake:
        write(lake)
    shutil.move(home, tmp_path / "moved")
    with open_lake(tmp_path / "moved") as lake:
        assert count(lake, "qrels") == ROWS and lake.finished("ingest", "k1")


def test_opening_again_is_cheap_and_changes_nothing(lake: Lake) -> None:
    before, start = lake.snapshot(), time.monotonic()
    with open_lake(lake.home) as again:
        assert again.snapshot() == before
    assert time.monotonic() - start < 5  # 0.2 s on an idle laptop


def test_views_follow_their_files(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "views" / "answer.sql").write_text("create or replace view answer as select 42 as n")
    with open_lake(lake.home) as changed:
        assert changed.rows("from answer").item() == 42
    (sql / "views" / "answer.sql").unlink()
    with open_lake(lake.home) as changed, pytest.raises(Exception, match="answer"):
        changed.rows("from answer")


def test_views_are_put_back_where_one_is_gone_and_after_every_migration(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lake.execute("drop view leaderboard")
    lake.execute("create or replace view malformed as select 1 as wrong")
    with open_lake(lake.home) as mended:
        assert mended.rows("from leaderboard").width > 10 and "share" in mended.rows("from malformed").columns
    lake.execute("create or replace view malformed as select 1 as wrong")
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "migrations" / "9000_more.sql").write_text("create table more (n integer)")
    with open_lake(lake.home) as migrated:
        assert "share" in migrated.rows("from malformed").columns


def test_an_older_copy_of_the_project_does_not_write_into_a_newer_lake(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "migrations" / "9000_more.sql").write_text("create table more (n integer)")
    open_lake(home).close()
    monkeypatch.undo()
    with pytest.raises(LakeNewer, match="9000_more"):
        open_lake(home)
    with open_lake(home, read_only=True) as reader:
        assert reader.rows("from more").is_empty()


def test_what_reads_a_lake_from_before_an_update_says_how_to_bring_it_up_to_date(home, migrated_home):
    shutil.copytree(migrated_home / "lake", home / "lake")
    with open_lake(home) as lake:
        lake.execute("delete from migrations where name = '0028_forgotten.sql'")
        lake.execute("alter table stage_runs drop column forgotten_at")
    with open_lake(home, read_only=True) as older:
        with pytest.raises(LakeOlder, match=r"0028_forgotten\.sql"):
            older.named("retention/batches", {"keys": [], "young": 0.0})
        assert older.named("retention/finished").is_empty(), "what it can answer it does"
    with open_lake(home) as lake:
        assert lake.named("retention/batches", {"keys": [], "young": 0.0}).is_empty()


def test_edited_migration_is_refused_and_a_new_one_applied(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "migrations" / "0002_more.sql").write_text(
        "create table more (n integer); alter table items add column extra varchar;"
    )
    with open_lake(lake.home) as migrated:
        assert migrated.rows("select count(*) from more").item() == 0
    (sql / "migrations" / "0002_more.sql").write_text("create table more (n bigint)")
    with pytest.raises(MigrationEdited, match="0002_more"):
        open_lake(lake.home)


def test_failed_migration_leaves_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    (sql / "migrations" / "0002_broken.sql").write_text(
        "create table half (n integer); create table wrong (n nonsense);"
    )
    with pytest.raises(MigrationFailed, match=r"(?s)migrations/0002_broken\.sql.*nonsense"):
        open_lake(lake.home)
    assert not lake.rows("select 1 from duckdb_tables() where table_name = 'half'").height


def test_every_table_and_column_says_what_it_holds(lake: Lake) -> None:
    tables = lake.rows(
        "select table_name, comment from duckdb_tables() where database_name = 'lake' and schema_name ="
        " 'main'"
    )
    columns = lake.rows(
        "select table_name || '.' || column_name as name, comment from duckdb_columns() semi join"
        " duckdb_tables() using (database_name, schema_name, table_name) where database_name = 'lake' and"
        " schema_name = 'main'"
    )
    assert tables.height >= 18 and columns.height >= 170
    assert not tables.filter(pl.col("comment").fill_null("") == "")["table_name"].to_list()
    assert not columns.filter(pl.col("comment").fill_null("") == "")["name"].to_list()


STEP = {
    "pool",
    "completion",
    "action",
    "taken",
    "valid",
    "reason",
    "reward",
    "reward_format",
    "reward_task",
    "reward_trace",
    "prompt_tokens",
    "completion_tokens",
    "milliseconds",
    "model",
    "strategy",
    "seed",
}


def test_a_step_holds_all_that_was_asked_and_answered(lake: Lake) -> None:
    assert set(lake.rows("from steps limit 0").columns) >= STEP
    assert lake.rows("from steps limit 0").columns[1:] == list(STEPS) and lake.rows(
        "from episodes limit 0"
    ).columns[1:] == list(EPISODES)


def test_an_old_lake_is_brought_up_to_date_with_its_rows(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sql = _own_sql(monkeypatch, tmp_path)
    for path in sorted((sql / "migrations").glob("*.sql"))[1:]:
        path.unlink()
    shutil.rmtree(sql / "views")
    one = batches.evaluated()
    with open_lake(home) as old:
        for table in ("episodes", "steps"):
            known = old.rows(f"describe {table}")["column_name"].to_list()
            frame = one[table].with_columns(batch_id=pl.lit("k"))
            old.register("given", frame.select(name for name in known if name in frame.columns))
            old.execute(f"insert into {table} by name select * from given")
    monkeypatch.undo()
    with open_lake(home) as new:
        kept = new.rows("select completion, model, strategy, seed from steps")
        assert sorted(kept.rows()) == sorted(
            (completion, None, None, None) for completion in one["steps"]["completion"]
        )
        branches = new.rows("select episode_id, parent_episode, from_step from episodes order by all").rows()
        assert branches == [(episode, None, None) for episode in sorted(one["episodes"]["episode_id"])]


def _own_sql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of sql/ that a test may change."""
    sql = Path(shutil.copytree(PROJECT / "sql", tmp_path / "sql"))
    monkeypatch.setattr(module, "SQL", sql)
    return sql


CLAIMS = """
import sys
from pathlib import Path
from ranker.lake import open_lake
with open_lake(Path(sys.argv[1])) as lake, lake.claim("ingest", "k1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_claim_waits_for_the_process_it_names_and_is_free_when_that_dies(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIMS, str(lake.home)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with lake.claim("ingest", "k2"):
            assert holder.poll() is None, "another key is free"
        threading.Timer(2.0, holder.kill).start()
        with caplog.at_level("INFO", "ranker.lake"), lake.claim("ingest", "k1"):
            assert holder.wait(10) == -signal.SIGKILL
    assert f"waiting for another run of ingest (k1): process {holder.pid} " in caplog.text


CHILD = """
import os
import signal
import sys
from pathlib import Path
from tests.ranker.lake import test_connection as test_lake
from ranker.lake import open_lake
home, what, point = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

class Mortal:
    '''A real connection that is killed, without a word, before its n-th statement from now.'''
    def __init__(self, inner): self.inner, self.left = inner, point
    def execute(self, *args):
        self.left -= 1
        if self.left < 0: os.kill(os.getpid(), signal.SIGKILL)
        return self.inner.execute(*args)
    def __getattr__(self, name): return getattr(self.inner, name)

with open_lake(home) as lake:
    if what == "die":
        lake._connection = Mortal(lake._connection)
        test_lake.write(lake)
    for i in range(point if what == "batches" else 0):
        test_lake.write(lake, f"{os.getpid()}-{i}")
"""


def child(home: Path, *args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), *map(str, args)], cwd=PROJECT, stderr=subprocess.PIPE
    )


# write() is 18 statements here: 1 snapshot, 5 of staging, 11 of the commit (its last the COMMIT itself), 1
# look-up.
@pytest.mark.parametrize("point", [5, 9, 16, 17])
def test_killed_anywhere_then_written_again(home: Path, point: int) -> None:
    process = child(home, "die", point)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    with open_lake(home) as lake:
        done = lake.finished("ingest", "k1")
        assert (count(lake, "qrels"), count(lake, "stage_runs")) == ((ROWS, 1) if done else (0, 0))
        assert (done is not None) == (point == 17)
        write(lake)
        assert lake.rows("select count(*), count(distinct query_id) from qrels").row(0) == (ROWS, ROWS)
        assert (count(lake, "stage_runs"), count(lake, "contract_results")) == (1, 1)
        assert not left_in(lake, "staging")


def test_killed_at_any_time_leaves_whole_batches(home: Path) -> None:
    open_lake(home).close()
    for seconds in (0.3, 0.7):  # after its first batch: in the middle of any statement
        process = child(home, "batches", 50)
        _wait_for_batch_of(process, home)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    with open_lake(home) as lake:
        assert count(lake, "qrels") == ROWS * count(lake, "stage_runs") > 0
        write(lake)
        assert count(lake, "qrels") == ROWS * count(lake, "stage_runs")


def _wait_for_batch_of(process: subprocess.Popen, home: Path) -> None:
    with open_lake(home, read_only=True) as reader:
        while (
            process.poll() is None
            and not reader.rows(
                "select 1 from stage_runs where starts_with(batch_id, $pid)", {"pid": f"{process.pid}-"}
            ).height
        ):
            time.sleep(0.05)


def test_processes_share_an_empty_lake(home: Path) -> None:
    """Two processes create, migrate and write at once; a reader looks on."""
    writers = [child(home, "batches", 3) for _ in range(2)]
    while any(process.poll() is None for process in writers):
        if (home / "lake" / "catalog.sqlite").exists():
            _glance(home)
        time.sleep(0.3)
    errors = [process.communicate()[1].decode() for process in writers]
    assert [process.returncode for process in writers] == [0, 0], errors
    with open_lake(home) as lake:
        assert (count(lake, "qrels"), count(lake, "stage_runs")) == (6 * ROWS, 6)
        assert (
            lake.rows("select count(*), count(distinct name) from migrations").row(0)
            == (count(lake, "migrations"),) * 2
        )
        assert not left_in(lake, "staging")


def _glance(home: Path) -> None:
    """A reader sees whole batches or, while the lake is being made, none."""
    try:
        with open_lake(home, read_only=True) as reader:
            assert count(reader, "qrels") % ROWS == 0
    except (StageMissing, BadConfig):
        return
