"""The warehouse: a DuckLake (Parquet files plus an SQL catalog), and the only place that connects to DuckDB.

Writing is `Lake.write`: stage, judge, commit. A batch first lies in `staging.<table>__<key>`; its contract
judges that; one transaction then moves the rows into the main tables together with the row in `stage_runs`
that says "done". A process killed anywhere before that commit has changed nothing that a reader sees, and
writing again replaces what it left.

DuckLake settles concurrent commits by letting one lose ("conflict", or SQLite's "database is locked"); the
loser's transaction is repeated (`failures`), a bounded number of times. On one machine `Lake.claim` also
keeps two runs from doing the same stage twice at once; across machines the dropped staging table makes the
second fail.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from ranker.errors import BadConfig, BadQuery, BatchRejected, RankerError
from ranker.lake import answers, failures, lock_holders, safe_sql
from ranker.lake.attach import Catalog, catalog, literal
from ranker.refs import Check, Ref, Staged, Verdict
from ranker.resources import sql_folder
from ranker.types import Fields, JsonObject

SQL = sql_folder()
QUERY_SECONDS = 300.0
"""A statement that somebody typed ends by then."""
_ERASED = """{column} in (select value from erased where "column" = $column)"""


def _threads() -> Mapping[str, str]:
    """As many as OMP_NUM_THREADS says, where it does: it is how processes that share cores are given, and
    DuckDB does not read it.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    return {"threads": given} if given.isdigit() and int(given) else {}


PACKAGED: Mapping[str, str] = {"allow_unsigned_extensions": "true", **_threads()}
"""Settings of a connection that `attach` is to be given: it loads extensions from the files that pip put
beside DuckDB, and allows no more of them afterwards. To check the signatures of what is trusted already
would hash 70 MB each time that a lake is opened, which is 0.4 s of 0.5.
"""
_CONFINED: Mapping[str, str] = {
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "max_temp_directory_size": "32GiB",
}
"""Settings of a lake that answers statements that people type; `Catalog.confinement` has those that have to
wait until it is attached. Secrets in clear are off by default, and locked so. A
folder that is not there, and may not be made, stands for the user's stored secrets: to switch those off lets
no PostgreSQL be attached.
"""
Configuration = dict[str, str | bool | int | float | list[str]]
log = logging.getLogger("ranker.lake")
Data = pl.DataFrame | Sequence[Path]
T = TypeVar("T")


class MigrationEdited(RankerError):
    """A migration's file is not the one that this lake was built with."""


class MigrationFailed(RankerError):
    """The SQL of a migration, or of a view, cannot be run on this lake, which is as it was."""


class LakeNewer(RankerError):
    """The lake was migrated by a newer version of this project."""


class LakeOlder(RankerError):
    """Nothing has written yet, and so migrated the lake, since this project was updated."""


class Lake:
    """An open lake; a context manager. Use one per process and thread.

    `flow_run`, where set, is recorded with every stage that is written.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, home: Path, uri: str, read_only: bool) -> None:
        self._connection = connection
        self.home, self.uri, self.read_only = home, uri, read_only
        self.flow_run: str | None = None
        self._known: tuple[object, safe_sql.Relations] | None = None

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, params: Fields | None = None) -> pl.DataFrame:
        """The result of a query; parameters are written `$name`.

        Raises:
            LakeBusy: the catalog stayed locked.
        """
        return self._retry(lambda: self._run(sql, params).pl(), "read")

    def named(self, name: str, params: Fields | None = None) -> pl.DataFrame:
        """The result of `sql/<name>.sql`.

        Raises:
            LakeOlder: it reads what a migration adds, and the lake, open for reading alone, lacks that one.
        """
        try:
            return self.rows(_text(name), params)
        except (duckdb.BinderException, duckdb.CatalogException):
            if self.read_only:  # what writes has migrated it
                self._require_migrated()
            raise

    def filled(self, name: str, **names: str) -> pl.DataFrame:
        """As `named`, of SQL that has names of tables and columns in braces."""
        return self.rows(fill(_text(name), **names))

    def query(self, sql: str) -> pl.DataFrame:
        """The result of a statement that somebody typed: one that reads the lake, and does nothing else.

        Raises:
            BadQuery: it is no SQL, more than one statement, one that does more than read (`safe_sql`), takes
                longer than QUERY_SECONDS or gives more than `answers.QUERY_MEBIBYTES`.
            LakeBusy: the catalog stayed locked.
        """
        try:
            self._require_one_select(sql)
            return self._retry(lambda: self._asked(sql), "read")
        except duckdb.InterruptException as error:
            raise BadQuery(
                "a query is answered within a bounded time",
                seen=f"{QUERY_SECONDS:g} seconds, and no end",
                remedy="ask for less, or `ranker lake export` the tables and ask those",
            ) from error
        except duckdb.Error as error:
            raise BadQuery(
                "a query must be SQL that the lake can answer", seen=str(error), remedy=safe_sql.REMEDY
            ) from error

    def _require_one_select(self, sql: str) -> None:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            made = any(
                not statement.query for statement in statements
            )  # of a pivot: first the values, as a type
            raise BadQuery(
                "a query is one statement that only reads",
                seen=f"{kinds}: {sql.strip()[:200]}",
                remedy=(
                    "name the values that become columns: `pivot … on mode in ('exclude', 'rank') using …`"
                    if made
                    else safe_sql.REMEDY
                ),
            )

    def _asked(self, sql: str) -> pl.DataFrame:
        """In one transaction: what was judged is what is run, whatever others commit in between."""
        with self._transaction():
            safe_sql.require_reading(sql, self._parsed, self._relations())
            with _interrupted_after(self._connection, QUERY_SECONDS):
                return answers.framed(self._connection.sql(sql))

    def _parsed(self, sql: str) -> JsonObject:
        """The tree of a statement, by DuckDB's own parser."""
        (text,) = self._run("select system.main.json_serialize_sql($sql::varchar)", {"sql": sql}).fetchall()[
            0
        ]
        try:
            tree = json.loads(text)
        except RecursionError as error:
            raise BadQuery(
                "a query is nested no deeper than a tree that can be walked",
                seen=sql.strip()[:200],
                remedy="write it with CTEs",
            ) from error
        if tree["error"]:
            raise BadQuery(
                "a query must be SQL that the lake can answer",
                seen=f"{tree['error_message']}: {sql.strip()[:200]}",
                remedy=safe_sql.REMEDY,
            )
        return tree

    def _relations(self) -> safe_sql.Relations:
        """What there is to read; asked anew only where another snapshot has come."""
        snapshot = self._run("from system.main.ducklake_current_snapshot('lake')").fetchall()
        if self._known is None or self._known[0] != snapshot:
            found = self._run(_text("lake/readable")).fetchall()
            self._known = snapshot, safe_sql.relations(found)
        return self._known[1]

    def execute(self, sql: str, params: Fields | None = None) -> None:
        """Run a statement for its effect."""
        self._retry(lambda: self._run(sql, params), "statement")

    def snapshot(self) -> int:
        """Id of the current snapshot; `AT (VERSION => id)` reads the lake as it is now."""
        return int(self.rows("select id from lake.current_snapshot() as t(id)").item())

    def maintain(self, name: str, params: Fields | None = None) -> pl.DataFrame:
        """What `sql/<name>.sql` did: one of DuckLake's own functions, which are no part of a transaction of
        ours.

        Raises:
            LakeBusy: the catalog stayed locked.
        """
        return self._retry(lambda: self._run(_text(name), params).pl(), name)

    def save(self, table: str, path: Path) -> int:
        """Write a table to a Parquet file, row group by row group; gives the number of rows."""
        self._retry(
            lambda: self._connection.table(f"lake.{table}").write_parquet(str(path)), f"export of {table}"
        )
        return int(self.rows(fill("select count(*) from {table}", table=table)).item())

    def register(self, name: str, frame: pl.DataFrame) -> None:
        """Make `frame` readable as a temporary view called `name`."""
        self._connection.register(name, frame)

    def finished(self, stage: str, key: str) -> Ref | None:
        """What an earlier run of `stage` under `key` wrote, or None."""
        found = self.named("lake/finished", {"stage": stage, "key": key})
        if found.is_empty():
            return None
        row = found.row(0, named=True)
        return Ref(
            stage=stage,
            key=key,
            snapshot=row["snapshot_id"],
            rows=json.loads(row["rows_written"]),
            details=json.loads(row["details"]),
        )

    @contextmanager
    def claim(self, stage: str, key: str) -> Iterator[None]:
        """Hold the right to produce `key`; a second run on this machine waits here. Dies with the process."""
        with _locked(self.home / "lake" / "locks" / f"{stage}-{key}", f"another run of {stage} ({key})"):
            yield

    def claimed(self, stage: str, key: str) -> bool:
        """Whether a run on this machine is producing `key`; stage `*` for any."""
        return any(map(_is_held, (self.home / "lake" / "locks").glob(f"{stage}-{key}")))

    def forget(self, key: str, tables: Sequence[str], *, again: bool = False) -> None:
        """Delete the rows that the batch `key` has in `tables`, in one transaction. Snapshots from before
        still have them.

        Args:
            again: the stage that wrote them counts as not done any more.
        """

        def work() -> None:
            with self._transaction():
                message = f"forgot {', '.join(tables)} of {key}"
                self._run("call lake.set_commit_message('ranker', $message)", {"message": message})
                for table in tables:
                    self._run(fill("delete from {table} where batch_id = $key", table=table), {"key": key})
                if again:
                    self._run(_text("retention/forgotten"), {"key": key})

        self._retry(work, f"forgetting {key}")

    def erase(self, found: pl.DataFrame, *, apply: bool) -> dict[str, int]:
        """Delete the rows, of whatever table, that hold one of these values in its column, in one
        transaction; without `apply` count them. Earlier snapshots still have them.

        Args:
            found: column (of those in sql/forget/columns.sql), value.

        Returns:
            Rows by table.
        """
        done = "delete from {name}" if apply else "select count(*) from {name}"

        def work() -> dict[str, int]:
            counts: dict[str, int] = {}
            self._connection.register("erased", found)
            with self._transaction():
                if apply:
                    self._run("call lake.set_commit_message('ranker', 'forgot a user')")
                    self._run(_text("forget/samples"))
                    self._run(_text("forget/queries"))
                for name, columns in self._run(_text("forget/columns")).fetchall():
                    theirs = (fill(_ERASED, column=one).replace("$column", f"${one}") for one in columns)
                    statement = fill(done, name=name) + " where " + " or ".join(theirs)
                    ((rows,),) = self._run(statement, {one: one for one in columns}).fetchall()
                    counts[name.removeprefix("lake.").removeprefix("main.")] = rows
            self._connection.unregister("erased")
            return counts

        return self._retry(work, "forgetting a user")

    def add(self, key: str, table: str, rows: pl.DataFrame) -> None:
        """Append rows under `key` that no contract has judged, in one transaction: of a stage that goes on,
        to be seen before it ends. `write` replaces them.
        """

        def work() -> None:
            with self._transaction():
                self._connection.register("incoming", rows)
                statement = "insert into {table} by name select $key as batch_id, * from incoming"
                self._run(fill(statement, table=table), {"key": key})
                self._connection.unregister("incoming")

        self._retry(work, f"rows of {table}")

    def write(
        self,
        stage: str,
        key: str,
        tables: Mapping[str, Data],
        *,
        inputs: Sequence[str],
        parameters: str,
        code: str,
        read_snapshot: int,
        details: Fields,
        check: Check,
        identity: Fields | None = None,
    ) -> Ref:
        """Stage `tables`, have `check` judge them, commit them in one transaction.

        `tables` maps a main table to a frame or to Parquet files, without `batch_id`; columns may be in any
        order, absent ones are null. `code` is the digest of `identity`, the parts that decide the output.
        Rows that an earlier run wrote under `key` are replaced.

        Raises:
            ContractViolated, ContractNotEvaluated: from `check`; the batch then lies in schema `quarantine`
                under its staging name, what its contract said in `contract_checks`, and all else is as it
                was.
            LakeBusy: the catalog stayed locked, or other writers kept winning.
        """
        staged = Staged(
            stage,
            key,
            {table: f"staging.{table}__{key}" for table in tables},
            self.home,
            self.uri,
            tuple(inputs),
            parameters,
        )
        counts = self._retry(lambda: self._stage(staged, tables), f"staging of {stage}")
        try:
            verdicts = check(staged)
        except BatchRejected as refused:
            verdicts = refused.verdicts
            self._retry(lambda: self._quarantine(staged, verdicts), f"quarantine of {stage}")
            raise
        said = json.dumps(dict(details), default=str)
        done = {
            "stage": stage,
            "key": key,
            "flow_run": self.flow_run,
            "inputs": list(inputs),
            "parameters": parameters,
            "code": code,
            "identity": None if identity is None else json.dumps(dict(identity)),
            "read_snapshot": read_snapshot,
            "rows_written": json.dumps(counts),
            "details": said,
        }
        self._retry(lambda: self._commit(staged, verdicts, done), f"commit of {stage}")
        snapshot = self.rows("select id from lake.last_committed_snapshot() as t(id)").item()
        return Ref(stage=stage, key=key, snapshot=snapshot, rows=counts, details=json.loads(said))

    def _stage(self, staged: Staged, tables: Mapping[str, Data]) -> dict[str, int]:
        with self._transaction():
            return {table: self._stage_one(table, staged, data) for table, data in tables.items()}

    def _stage_one(self, table: str, staged: Staged, data: Data) -> int:
        target = staged.tables[table]
        self._run(
            fill("create or replace table {target} as from {table} with no data", target=target, table=table)
        )
        if isinstance(data, pl.DataFrame) and data.width:
            self._connection.register("incoming", data)
            self._run(
                fill("insert into {target} by name select $key as batch_id, * from incoming", target=target),
                {"key": staged.key},
            )
            self._connection.unregister("incoming")
        elif not isinstance(data, pl.DataFrame) and data:
            self._run(
                fill(
                    "insert into {target} by name select $key as batch_id, * from read_parquet($files)",
                    target=target,
                ),
                {"key": staged.key, "files": [str(path) for path in data]},
            )
        return int(self._run(fill("select count(*) from {target}", target=target)).fetchall()[0][0])

    def _quarantine(self, staged: Staged, verdicts: Sequence[Verdict]) -> None:
        """What an earlier, accepted batch of this key was told stays beside it, like its rows."""
        with self._transaction():
            self._run(
                "delete from contract_checks where batch_id = $key and not accepted", {"key": staged.key}
            )
            self._check(staged, verdicts, accepted=False)
            for source in staged.tables.values():
                self._run(
                    fill(
                        "create or replace table {target} as from {source}",
                        target=_in_quarantine(source),
                        source=source,
                    )
                )
                self._run(fill("drop table {source}", source=source))

    def _commit(self, staged: Staged, verdicts: Sequence[Verdict], done: Fields) -> None:
        """Staging tables go in the same transaction: of two runs of one key, the second to commit
        conflicts.
        """
        with self._transaction():
            self._run(
                "call lake.set_commit_message('ranker', $message)",
                {"message": f"{staged.stage} {staged.key}"},
            )
            for table, source in staged.tables.items():
                self._run(fill("delete from {table} where batch_id = $key", table=table), {"key": staged.key})
                self._run(fill("insert into {table} by name from {source}", table=table, source=source))
                self._run(fill("drop table {source}", source=source))
                self._run(fill("drop table if exists {old}", old=_in_quarantine(source)))
            self._record(staged, verdicts, done)

    def _record(self, staged: Staged, verdicts: Sequence[Verdict], done: Fields) -> None:
        for table in ("contract_checks", "stage_runs"):
            self._run(fill("delete from {table} where batch_id = $key", table=table), {"key": staged.key})
        self._check(staged, verdicts, accepted=True)
        self._run(_text("lake/finish"), done)

    def _check(self, staged: Staged, verdicts: Sequence[Verdict], accepted: bool) -> None:
        if verdicts:
            self._connection.register("incoming", _verdict_frame(verdicts))
            self._run(_text("lake/check"), {"key": staged.key, "stage": staged.stage, "accepted": accepted})
            self._connection.unregister("incoming")

    def _retry(self, work: Callable[[], T], what: str) -> T:
        return failures.repeated(work, what, lambda: _holders(self.home, self.uri))

    def _run(self, sql: str, params: Fields | None = None) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(sql, dict(params)) if params else self._connection.execute(sql)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("begin")
        try:
            yield
            self._run("commit")
        except BaseException:
            _rollback(self._connection)
            raise

    def _migrate(self) -> None:
        """Apply what is new in sql/migrations, then sql/views: after any migration, and where one has
        changed or is gone.
        """
        applied = self._applied()
        pending = [path for path in _files("migrations") if not _is_applied(path, applied)]
        _require_known(applied)
        views = {f"views/{path.name}": _checksum(path) for path in _files("views")}
        there = self._views()
        if not pending and views == {name: checksum for name, checksum in applied.items() if name in there}:
            return
        with _locked(self.home / "lake" / "locks" / "migrate", "another process that migrates the lake"):
            self._retry(lambda: self._apply(pending, views), "migration")

    def _require_migrated(self) -> None:
        applied = self._applied()
        if lacking := [path.name for path in _files("migrations") if path.name not in applied]:
            raise LakeOlder(
                "what is asked has to be in the lake, which what writes brings up to date",
                seen=f"it lacks {', '.join(lacking)}",
                remedy="`ranker lake compact`, or `ranker retrain`; a snapshot of the past stays as it was",
            )

    def _applied(self) -> dict[str, str]:
        """Checksum by file name; empty for a new lake."""
        try:
            return dict(self.rows("select name, checksum from lake.main.migrations").iter_rows())
        except duckdb.CatalogException:  # no such table; to look for it first takes twice as long
            return {}

    def _apply(self, pending: Sequence[Path], views: Mapping[str, str]) -> None:
        """All in one transaction: each commit lets DuckLake read its whole catalog again, and a lake is never
        between two versions.
        """
        with self._transaction():
            self._run(_text("lake/bootstrap"))
            known = {name for (name,) in self._run("select name from migrations").fetchall()}
            missing = [path for path in pending if path.name not in known]
            for path in missing:
                self._run_file(path)
            for name in known:
                if name.startswith("views/") and name not in views:
                    self._run(fill("drop view if exists {view}", view=Path(name).stem))
            self._run("delete from migrations where starts_with(name, 'views/')")
            for name in views:
                self._run_file(SQL / name)
            self._note({path.name: _checksum(path) for path in missing} | dict(views))
        log.info("applied %s", ", ".join(path.name for path in missing) or "views")

    def _run_file(self, path: Path) -> None:
        try:
            self._run(path.read_text(encoding="utf-8"))
        except duckdb.Error as error:
            if failures.may_pass(error) or failures.damage(error):
                raise
            raise MigrationFailed(
                f"{path.parent.name}/{path.name} must run: the lake is as it was before",
                seen=str(error)[: failures.LONGEST_SEEN],
                remedy=(
                    "take a version of this project whose migrations run, or mend the file where it is your"
                    " own; reading (`ranker query`) goes on"
                ),
            ) from error

    def _views(self) -> set[str]:
        """Views that are there, named as in `migrations`."""
        found = self.rows(
            "select view_name from duckdb_views() where database_name = 'lake' and schema_name = 'main'"
        )
        return {f"views/{name}.sql" for name in found["view_name"]}

    def _note(self, checksums: Mapping[str, str]) -> None:
        self._run(
            "insert into migrations select unnest($names), unnest($checksums), now()",
            {"names": list(checksums), "checksums": list(checksums.values())},
        )


def open_lake(
    home: Path,
    uri: str = "",
    *,
    read_only: bool = False,
    snapshot: int | None = None,
    confined: bool = False,
) -> Lake:
    """Open the lake of the data folder `home`; without `read_only` it is created and migrated as needed.

    `snapshot` opens all of it, tables and views alike, as it was then; such a lake is read-only.

    `confined` is for statements that people type: such a lake is read-only, reaches no file but its own, and
    none of its settings can be changed any more.

    `uri` names another catalog, for example `ducklake:postgres:dbname=lake host=db`; `?data_path=s3://…` at
    its end says where that catalog's Parquet files lie when it is first created. Empty takes SQLite under
    `home`.

    Raises:
        StageMissing: `read_only`, and there is no lake yet.
        BadQuery: there is no such snapshot.
        MigrationEdited: an applied migration was edited afterwards.
        LakeNewer: not `read_only`, and a newer version of this project has migrated it.
        BadConfig: the catalog cannot be attached.
        NoAccess: its folder may not be written.
        BadLake: the catalog is damaged.
        LakeBusy, Unreachable: the catalog stayed locked, or its server away.
        MigrationFailed: a migration's SQL cannot be run.
    """
    home, read_only = Path(home).resolve(), read_only or confined or snapshot is not None
    if read_only and not uri and not (home / "lake" / "catalog.sqlite").exists():
        raise failures.no_lake(str(home / "lake"))
    connection = duckdb.connect(config=_configuration(home, confined))
    # A bar would go to standard output, between rows. A notebook without ipywidgets has none, and refuses.
    with suppress(duckdb.InvalidInputException):
        connection.execute("set enable_progress_bar = false")
    try:
        lake = _opened(connection, home, uri, read_only, snapshot)
        for statement in catalog(home, uri).confinement(_temporary(home)) if confined else ():
            connection.execute(statement)
        return lake
    except BaseException:
        connection.close()
        raise


def _configuration(home: Path, confined: bool) -> Configuration:
    own: Configuration = {
        **PACKAGED,
        "autoinstall_known_extensions": "false",
        "temp_directory": _temporary(home),
    }
    if not confined:
        return own
    return {
        **own,
        **_CONFINED,
        "memory_limit": f"{answers.mebibytes()}MiB",
        "secret_directory": str(home / "lake" / "no-secrets"),
    }


def _temporary(home: Path) -> str:
    return str(home / "lake" / "tmp")


def _opened(
    connection: duckdb.DuckDBPyConnection, home: Path, uri: str, read_only: bool, snapshot: int | None
) -> Lake:
    lake = Lake(connection, home, uri, read_only)

    def who() -> str:
        return _holders(home, uri)

    if read_only:
        failures.repeated(
            lambda: attach(connection, home, uri, read_only=True, snapshot=snapshot), "attach", who
        )
        if not lake._applied():
            raise failures.no_lake(uri or str(home / "lake"))
        return lake
    with _locked(home / "lake" / "locks" / "attach", "another process that opens the lake"):
        failures.repeated(lambda: attach(connection, home, uri), "attach", who)
    lake._migrate()
    return lake


def attach(
    connection: duckdb.DuckDBPyConnection,
    home: Path,
    uri: str = "",
    *,
    read_only: bool = False,
    snapshot: int | None = None,
) -> None:
    """Attach the lake to any DuckDB connection (also a raw one of SQLAlchemy's) as `lake`, and make it the
    default. The connection was opened with the settings PACKAGED.

    Raises:
        BadConfig: the catalog cannot be attached.
        NoAccess: its folder may not be written.
        BadLake: the catalog is damaged.
        BadQuery: there is no such snapshot.
    """
    wanted = catalog(home, uri)
    for extension in wanted.extensions:
        _load(connection, extension)
    connection.execute("set allow_unsigned_extensions = false")  # which cannot be taken back
    secret = wanted.secret()
    if not read_only and not wanted.remote:
        Path(wanted.data).mkdir(parents=True, exist_ok=True)
    try:
        connection.execute("set TimeZone = 'UTC'")
        if secret:
            connection.execute(secret)
        connection.execute(wanted.attachment(read_only, snapshot))
        connection.execute("use lake")
    except duckdb.Error as error:
        if failures.may_pass(error):
            raise
        raise failures.unattached(error, wanted.uri, read_only, snapshot) from error


def attach_lines(home: Path, uri: str = "") -> tuple[str, str]:
    """The two lines by which a plain DuckDB prompt gets the lake, read-only.

    Their extensions are put where this user's prompts look for them, so that one of the same version needs no
    network.
    """
    wanted = catalog(Path(home).resolve(), uri)
    with suppress(duckdb.Error), duckdb.connect() as plain:  # no home that may be written, or there already
        for extension in wanted.extensions:
            plain.execute(f"install {literal(str(_packaged(extension)))}")
    return wanted.lines()


def _load(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Load an extension from the Python package that carries it; never from the network."""
    connection.execute(f"load {literal(str(_packaged(extension)))}")


def _packaged(extension: str) -> Path:
    """Where pip has put it."""
    inside = f"extensions/v{duckdb.__version__}/{extension}.duckdb_extension"
    with suppress(ModuleNotFoundError):
        path = Path(str(files(f"duckdb_extension_{extension}"))) / inside
        if path.is_file():
            return path
    raise BadConfig(
        "the lake's catalog needs a DuckDB extension",
        seen=f"no package of {extension!r} for DuckDB {duckdb.__version__}",
        remedy=f"pip install duckdb-extension-{extension.replace('_', '-')}=={duckdb.__version__}",
    )


def _holders(home: Path, uri: str) -> str:
    """What has the catalog open besides this process, in words."""
    held = catalog(home, uri)
    if held.postgres:
        return _sessions(held)
    parts = [Path(held.file + suffix) for suffix in ("", "-wal", "-shm", ".wal")]
    return (
        lock_holders.listed(lock_holders.of(parts))
        or f"no other process that this user can see has {held.file} open now"
    )


def _sessions(held: Catalog) -> str:
    """The other sessions of a PostgreSQL catalog, asked on a connection of its own: ours waits, or has
    failed.
    """
    try:
        with duckdb.connect(config=dict(PACKAGED)) as asking:
            _load(asking, "postgres_scanner")
            asking.execute(f"attach {literal(held.session)} as held (type postgres, read_only)")
            found = asking.execute(
                "from postgres_query('held', $sql)", {"sql": _text("lake/holders")}
            ).fetchall()
    except duckdb.Error as error:
        return f"PostgreSQL did not say which sessions there are: {str(error).splitlines()[0]}"
    lines = (
        f"session {pid} of {application} ({client}) is {state}, {seconds or 0} s in its transaction: {query}"
        for pid, application, client, state, seconds, query in found
    )
    return lock_holders.listed(lines) or "no other session is connected to the catalog now"


def _rollback(connection: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):  # a failed commit has ended the transaction already
        connection.execute("rollback")


@contextmanager
def _interrupted_after(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """What runs on `connection` ends with an InterruptException after `seconds`."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _locked(path: Path, holder: str) -> Iterator[None]:
    """An exclusive file lock; waits, saying for whom. The kernel frees it when the process dies (which a
    soft lock would not promise).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        log.info(
            "waiting for %s: %s",
            holder,
            lock_holders.listed(lock_holders.of([path])) or "its process cannot be seen",
        )
        held = lock.acquire()
    with held:
        yield


def _is_held(path: Path) -> bool:
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _verdict_frame(verdicts: Sequence[Verdict]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "table_name": [v.table for v in verdicts],
            "expectation": [v.expectation for v in verdicts],
            "severity": [v.severity for v in verdicts],
            "success": pl.Series([v.success for v in verdicts], dtype=pl.Boolean),
            "observed": pl.Series([v.observed for v in verdicts], dtype=pl.String),
            "unexpected_count": pl.Series([v.unexpected_count for v in verdicts], dtype=pl.Int64),
            "samples": pl.Series([v.samples for v in verdicts], dtype=pl.String),
        }
    )


def _in_quarantine(staging: str) -> str:
    return "quarantine." + staging.partition(".")[2]


def fill(template: str, **names: str) -> str:
    """`template` with quoted identifiers in its braces; the one place where SQL text is put together."""
    return template.format(**{place: _quoted(name) for place, name in names.items()})


def _quoted(name: str) -> str:
    """`schema.table` as quoted identifiers."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _text(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def _files(folder: str) -> list[Path]:
    return sorted((SQL / folder).glob("*.sql"))


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_applied(path: Path, applied: Mapping[str, str]) -> bool:
    """Whether a migration is in; raises MigrationEdited where its text is no longer the one applied."""
    if path.name not in applied:
        return False
    if applied[path.name] != _checksum(path):
        raise MigrationEdited(
            "an applied migration never changes",
            seen=f"sql/migrations/{path.name} differs from what this lake was built with",
            remedy=(
                "restore the file and put the change into a new migration, or start with an empty data folder"
            ),
        )
    return True


def _require_known(applied: Mapping[str, str]) -> None:
    """An older copy of this project must not write into a newer lake, nor put its own views into it."""
    unknown = sorted(
        set(applied)
        - {path.name for path in _files("migrations")}
        - {name for name in applied if name.startswith("views/")}
    )
    if unknown:
        raise LakeNewer(
            "a lake is written by the version that built it, or a newer one",
            seen=(
                f"it holds the {'migration' if len(unknown) == 1 else 'migrations'} {', '.join(unknown)},"
                " which this version does not have"
            ),
            remedy="update this copy of the project; reading (`ranker query`, `ranker shell`) works as it is",
        )
