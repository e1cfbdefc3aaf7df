"""The lake of a team: a PostgreSQL catalog and data in S3, both real servers on 127.0.0.1."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.gate import validate_batch
from ranker.config import parse_params
from ranker.errors import BadConfig, BadQuery, ContractViolated, LakeBusy, Unreachable
from ranker.lake import failures, maintenance, open_lake
from ranker.lake.connection import attach_lines
from ranker.refs import PROJECT, Staged, Verdict
from ranker.stages import candidates, distill, ingest
from tests.ranker.cli.commands import ranker
from tests.ranker.lake import servers
from tests.ranker.lake.test_connection import ROWS, count, left_in, qrels, refuse, write

BINARIES = servers.postgres_binaries()
needs_postgres = pytest.mark.skipif(
    BINARIES is None, reason="no PostgreSQL server on this machine (Debian: apt-get install postgresql)"
)


@pytest.fixture(scope="module")
def running() -> Iterator[servers.Postgres]:
    assert BINARIES is not None
    with servers.postgres(BINARIES) as server:
        yield server


@pytest.fixture(scope="module")
def port(running: servers.Postgres) -> int:
    return running.port


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto[server] is not installed (it is one of the extras `dev`)")
    with servers.s3() as address:
        yield address


@pytest.fixture
def keys(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": f"http://{store}",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def uri(port: int, tmp_path: Path) -> str:
    """An empty catalog in PostgreSQL (a database of its own), with data in a folder."""
    name = f"lake_{tmp_path.name.lower()}"[:60]
    assert BINARIES is not None
    subprocess.run(
        [BINARIES / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "lake", name], check=True
    )
    return (
        f"ducklake:postgres:dbname={name} host=127.0.0.1 port={port} user=lake?data_path={tmp_path}/parquet/"
    )


@needs_postgres
def test_postgres_keeps_what_sqlite_keeps(home: Path, uri: str) -> None:
    with open_lake(home, uri) as lake:
        first = write(lake)
        with pytest.raises(ContractViolated):
            write(lake, "k2", check=refuse)
        assert (count(lake, "qrels"), count(lake, "quarantine.qrels__k2")) == (ROWS, ROWS)
        second = write(lake, "k2")
        assert not left_in(lake, "quarantine") and not left_in(lake, "staging")
        write(lake, "k1", frame=qrels(3))
    with open_lake(home, uri, read_only=True) as reader:
        assert count(reader, "qrels") == ROWS + 3 and reader.finished("ingest", "k2") == second
        with pytest.raises(Exception, match="read-only"):
            reader.execute("delete from qrels")
    with open_lake(home, uri, snapshot=first.snapshot) as then:
        assert count(then, "qrels") == ROWS
    assert not (home / "lake" / "catalog.sqlite").exists()


@needs_postgres
def test_postgres_is_kept_and_given_to_plain_duckdb(home: Path, uri: str) -> None:
    with open_lake(home, uri) as lake:
        commits = [write(lake, f"k{i}").snapshot for i in range(3)]
        merged, files = maintenance.compact(lake, grace_hours=0)
        assert merged["files_before"].to_list() == [3] and files == 3
        done = maintenance.expire(lake, days=0, grace_hours=0)
        assert set(commits) <= set(maintenance.snapshots(lake)["snapshot"]) and done.gone.height >= 3
        assert maintenance.diff(lake, commits[0], commits[2]).filter(table="qrels")["inserted"].to_list() == [
            ROWS,
            ROWS,
        ]
    with duckdb.connect() as plain:
        for line in attach_lines(home, uri):
            plain.execute(line)
        assert plain.execute("select count(*) from qrels").fetchall() == [(3 * ROWS,)]


CHILD = """
import os, sys
from pathlib import Path
from ranker.lake import open_lake
from tests.ranker.lake import test_connection as test_lake
with open_lake(Path(sys.argv[1]), sys.argv[2]) as lake:
    for i in range(int(sys.argv[3])):
        test_lake.write(lake, f"{os.getpid()}-{i}")
        print(i, flush=True)
"""


def child(home: Path, uri: str, batches: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), uri, str(batches)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_postgres
def test_processes_on_different_machines_share_a_catalog(tmp_path: Path, uri: str) -> None:
    """Data folders of their own, hence no file lock in common; one of the writers is killed on the way."""
    open_lake(tmp_path / "a", uri).close()
    victim = child(tmp_path / "victim", uri, 50)
    assert victim.stdout is not None and victim.stdout.readline() == "0\n"
    writers = [child(tmp_path / name, uri, 4) for name in ("b", "c")]
    victim.kill()
    acknowledged = 1 + len(victim.communicate()[0].splitlines())
    errors = [process.communicate()[1] for process in writers]
    assert [process.returncode for process in writers] == [0, 0], errors
    with open_lake(tmp_path / "a", uri) as lake:
        batches = lake.rows("select batch_id, count(*) as n from qrels group by batch_id")
        assert set(batches["n"]) == {ROWS} and batches.height == count(lake, "stage_runs") >= 8 + acknowledged


@needs_postgres
def test_a_held_catalog_names_the_session(home: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "ATTEMPTS", 2)
    assert BINARIES is not None
    where, _, data = uri.partition("?")
    impatient = f"{where} options='-c lock_timeout=300'?{data}"
    with open_lake(home, impatient) as lake:
        lake.execute("set ducklake_max_retry_count = 0")
        command = [
            BINARIES / "psql",
            f"{where.removeprefix('ducklake:postgres:')} application_name=nosy",
            "-qAt",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nosy:
            assert nosy.stdin is not None and nosy.stdout is not None
            nosy.stdin.write(
                "begin;\nlock table ducklake_snapshot in access exclusive mode;\nselect 'held';\n"
            )
            nosy.stdin.flush()
            assert nosy.stdout.readline() == "held\n"
            with pytest.raises(LakeBusy) as caught:
                write(lake)
            nosy.communicate()
        assert (
            "of nosy (127.0.0.1) is idle in transaction" in caught.value.seen
            and "ranker process" not in caught.value.seen
        )
        write(lake)
        assert count(lake, "qrels") == ROWS


@needs_postgres
def test_a_catalog_that_is_away_for_a_while_is_waited_for(
    home: Path, uri: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections break, nobody listens, and somebody does again; where that stays so it is said."""
    road = servers.Road(port)
    road.open()
    with open_lake(home, uri.replace(f"port={port}", f"port={road.port}")) as lake:
        write(lake)
        road.close()
        back = threading.Timer(1.5, road.open)
        back.start()
        write(lake, "k2")
        back.join()
        assert count(lake, "qrels") == 2 * ROWS
        road.close()
        monkeypatch.setattr(failures, "ATTEMPTS", 2)
        with pytest.raises(Unreachable, match="must answer"):
            lake.rows("from qrels limit 1")
    with pytest.raises(Unreachable, match=r"(?i)refused"):
        open_lake(home, uri.replace(f"port={port}", f"port={road.port}"))


@needs_postgres
def test_a_catalog_that_crashes_within_a_stage_is_gone_on_with(
    home: Path, uri: str, running: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crashes before the contract is judged, which no retry bridges (a task does: the fault may pass), and
    again before the commit, and is there a second later, which the lake's own retries bridge.
    """
    params = parse_params({"preset": "tiny", "home": str(home)})

    def crash_before(staged: Staged) -> list[Verdict]:
        running.stop()
        return validate_batch(staged)

    def crash_after(staged: Staged) -> list[Verdict]:
        verdicts = validate_batch(staged)
        running.stop()
        back.start()
        return verdicts

    back = threading.Timer(1, running.start)
    with open_lake(home, uri) as lake:
        with monkeypatch.context() as impatient:
            impatient.setattr(failures, "ATTEMPTS", 2)
            with pytest.raises(Unreachable, match="must answer"):
                ingest.run(lake, params.ingest, check=crash_before)
        running.start()
        done = ingest.run(lake, params.ingest, check=crash_after)
        back.join()
        assert not done.skipped and count(lake, "queries") == done.rows["queries"] > 0
        assert not left_in(lake, "staging") and not left_in(lake, "quarantine")
        assert count(lake, "stage_runs") == 1


@needs_postgres
def test_stages_and_contracts_run_on_postgres_and_s3(home: Path, uri: str, keys: None) -> None:
    """The setting that moves a lake is one: its URI."""
    params = parse_params(
        {
            "preset": "tiny",
            "home": str(home),
            "lake": uri.partition("?")[0] + "?data_path=s3://lake/team/",
            "distill": {"traces": 400},
        }
    )
    with open_lake(params.home_path, params.lake) as lake:
        source = ingest.run(lake, params.ingest, check=validate_batch)
        sets = candidates.run(lake, params.candidates, source=source, check=validate_batch)
        traces = distill.run(
            lake, params.distill, sets=sets, policy=params.train.policy, check=validate_batch
        )
        assert traces.rows["traces"] == count(lake, "traces") == 400
        places = lake.rows("select data_file from ducklake_list_files('lake', 'traces')")[
            "data_file"
        ].to_list()
        assert places and all(place.startswith("s3://lake/team/") for place in places)
    assert not list(home.rglob("*.parquet"))
    with open_lake(params.home_path, params.lake) as lake:
        assert distill.run(
            lake, params.distill, sets=sets, policy=params.train.policy, check=validate_batch
        ).skipped


NOT_THE_LAKES = (
    "from read_text('/etc/hostname')",
    "from glob('/*')",
    "from read_parquet('s3://lake/elsewhere/x.parquet')",
    "from read_parquet('s3://other/x.parquet')",
    "copy (select 1) to 's3://other/x.parquet'",
    "set enable_external_access = true",
    "insert into qrels select * from qrels",
    "attach 'new.db'",
)


def confined(home: Path, uri: str, rows: int) -> None:
    """Such a lake answers as a lake in a folder does, and reaches nothing else, whatever is asked of it."""
    with open_lake(home, uri, confined=True) as asked:
        assert asked.query("select count(*) as n from qrels")["n"].item() == rows
        assert asked.query("select task, count(*) as n from qrels group by all").height == 1
        assert asked.query("from leaderboard").width and asked.query("summarize qrels").height == 6
        assert asked.query("select name from migrations").height, (
            "few rows: they lie in the catalog, not in a file"
        )
        for statement in NOT_THE_LAKES:
            with pytest.raises(BadQuery):
                asked.query(statement)
            with pytest.raises(duckdb.Error):
                asked.execute(statement)
        for table in (
            "duckdb_secrets()",
            "postgres_query('__ducklake_metadata_lake', 'select 1')",
            "__ducklake_metadata_lake.ducklake_data_file",
            "ducklake_flush_inlined_data('lake')",
            "ducklake_cleanup_old_files('lake', cleanup_all => true)",
        ):
            with pytest.raises(BadQuery, match="only reads the lake"):
                asked.query(f"from {table}")


@needs_postgres
def test_postgres_is_asked_and_nothing_else(home: Path, uri: str) -> None:
    with open_lake(home, uri) as lake:
        first = write(lake)
        write(lake, "k2")
        lake.execute("insert into migrations values ('zzz', 'x', now())")
        lake.execute("delete from migrations where name = 'zzz'")
    before = {path: path.read_bytes() for path in home.parent.rglob("*.parquet")}
    confined(home, uri, 2 * ROWS)
    with open_lake(home, uri, confined=True, snapshot=first.snapshot) as then:
        assert then.query("select count(*) as n from qrels")["n"].item() == ROWS
    assert before == {path: path.read_bytes() for path in home.parent.rglob("*.parquet")}


@needs_postgres
def test_postgres_with_s3_is_asked_and_nothing_else(home: Path, uri: str, keys: None) -> None:
    where = f"{uri.partition('?')[0]}?data_path=s3://lake/{home.parent.name}/"
    with open_lake(home, where) as lake:
        write(lake)
    confined(home, where, ROWS)


def test_sqlite_with_s3_is_asked_and_nothing_else(home: Path, tmp_path: Path, keys: None) -> None:
    uri = f"ducklake:sqlite:{tmp_path}/catalog.sqlite?data_path=s3://lake/{tmp_path.name}-asked/"
    with open_lake(home, uri) as lake:
        write(lake)
    confined(home, uri, ROWS)


def test_sqlite_with_s3_is_written_kept_and_read(home: Path, tmp_path: Path, keys: None) -> None:
    uri = f"ducklake:sqlite:{tmp_path}/catalog.sqlite?data_path=s3://lake/{tmp_path.name}/"
    with open_lake(home, uri) as lake:
        commits = [write(lake, f"k{i}").snapshot for i in range(3)]
        assert (
            maintenance.compact(lake, grace_hours=0)[1] == 3
            and maintenance.expire(lake, days=0, grace_hours=0).files == 3
        )
        assert maintenance.export(lake, tmp_path / "out", ["qrels"])["rows"].to_list() == [3 * ROWS]
    with open_lake(home, uri, snapshot=commits[0]) as then:
        assert count(then, "qrels") == ROWS


@needs_postgres
def test_no_secret_is_left_behind(
    home: Path,
    uri: str,
    keys: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither in files nor in what is printed or logged, when all goes well and when nothing does."""
    for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"canary-{name.lower()}")
    monkeypatch.setattr(failures, "ATTEMPTS", 2)  # as nobody ever listens there
    where = f"{uri.partition('?')[0]}?data_path=s3://lake/{tmp_path.name}-secret/"
    with caplog.at_level("DEBUG"):
        with open_lake(home, where) as lake:
            write(lake)
            with pytest.raises(ContractViolated):
                write(lake, "k2", check=refuse)
        said = [
            ranker(*command, "--home", str(home), "--lake", lake_uri).output
            for lake_uri in (
                where,
                "ducklake:postgres:dbname=none host=127.0.0.1 port=1 password=canary-typed",
                "ducklake:postgres:postgresql://u:canary-typed@127.0.0.1:1/none",
                "ducklake:postgres:dbname=none host=127.0.0.1 port=1",
                "canary-pgpassword",
            )
            for command in (
                ("query", "from qrels limit 1"),
                ("doctor",),
                ("lake", "attach"),
                ("lake", "snapshots"),
            )
        ]
        for bad in (
            "dbname=none host=127.0.0.1 port=1 password=canary-typed",
            "postgresql://u:canary-typed@127.0.0.1:1/x",
        ):
            with pytest.raises(Unreachable) as caught:
                open_lake(home, f"ducklake:postgres:{bad}")
            said += [str(caught.value), *attach_lines(home, f"ducklake:postgres:{bad}")]
    assert "qrels" not in said[0] and len(said) > 20 and any("password=***" in text for text in said)
    assert not [text for text in said if "canary" in text]
    assert "canary" not in caplog.text
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left and not [path for path in left if b"canary" in path.read_bytes()]


def test_s3_without_credentials_says_what_to_export(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(BadConfig, match="AWS_ACCESS_KEY_ID"):
        open_lake(home, f"ducklake:sqlite:{tmp_path}/catalog.sqlite?data_path=s3://lake/x/")


@needs_postgres
def test_what_lies_in_both_is_there_when_both_were_stopped(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto.server", reason="moto[server] is not installed (it is one of the extras `dev`)")
    assert BINARIES is not None
    port, recording = servers.free_port(), tmp_path / "recording"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with servers.postgres(BINARIES, "ranker") as database:
        where = f"dbname=ranker host=127.0.0.1 port={database.port} user=ranker"
        uri = f"ducklake:postgres:{where}?data_path=s3://lake/"
        with servers.s3(port, recording), open_lake(home, uri) as lake:
            write(lake)
        database.stop()
        database.start()
        with servers.s3(port, recording), open_lake(home, uri) as lake:
            assert count(lake, "qrels") == ROWS
            assert write(lake, "k2").rows == {"qrels": ROWS} and count(lake, "qrels") == 2 * ROWS
