"""What people may ask of a lake: everything that reads it, and nothing else. Hostile statements are in
hostile.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest

import ranker.lake.connection as module
from ranker.errors import BadQuery, ContractViolated
from ranker.lake import Lake, open_lake, safe_sql
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker
from tests.ranker.lake import hostile
from tests.ranker.lake.test_connection import ROWS, refuse, write

SECRET = "nobody shall read this"
REVIEWED = re.compile(
    r"icu_|__internal_|pg_|has_|inet_|st_|variant_(?!extract$|typeof$)|format_(pg_)?type$|(col|obj|shobj)_description$"
)
"""Functions that were looked at and are not admitted, by how their names begin: of collations, of DuckDB's
optimizer, PostgreSQL's catalogs, geometry.
"""
REFUSED = safe_sql.names("""
    combine create_sort_key current_connection_id current_query current_query_id current_role
    current_schemas current_setting current_transaction_id current_user currval error finalize
    get_block_size get_type getvariable json_deserialize_sql json_serialize_plan json_serialize_sql
    make_type nextval replace_type session_user setseed sleep_ms stats switch txid_current user
    vector_type write_log
    """)
"""The others that were looked at."""


@dataclass(frozen=True, slots=True)
class Place:
    """A lake with something in it, and a folder beside it with a file of each kind that DuckDB reads."""

    home: Path
    outside: Path
    then: int = 0
    """A snapshot that is not the last."""

    def digest(self) -> dict[str, str]:
        """What lies there; SQLite's shared memory (-shm) is written by readers, too."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in (self.home, self.outside)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.endswith("-shm")
        }

    def sql(self, statement: str) -> str:
        for name, value in {"outside": self.outside, "home": self.home, "then": self.then}.items():
            statement = statement.replace(f"{{{name}}}", str(value))
        return statement


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made(tmp_path_factory.mktemp("room"))


def made(room: Path) -> Place:
    with open_lake(room / "home") as lake:
        place = Place(room / "home", room / "outside", write(lake).snapshot)
        write(lake, "k2")
        with pytest.raises(ContractViolated):
            write(lake, "k3", check=refuse)
        lake.execute("delete from qrels where batch_id = 'k2'")  # files that a clean-up would delete
        lake.maintain("lake/compact")
        # inlined rows, which a flush would write to a file
        lake.execute("insert into migrations values ('zzz', 'x', now())")
        lake.execute("delete from migrations where name = 'zzz'")
    place.outside.mkdir()
    for name in ("secret.txt", "table.csv"):
        (place.outside / name).write_text(f"n\n{SECRET}\n", encoding="utf-8")
    for name in ("table.json", "table.jsonl"):
        (place.outside / name).write_text(json.dumps({"n": SECRET}) + "\n", encoding="utf-8")
    pl.DataFrame({"n": [SECRET]}).write_parquet(place.outside / "table.parquet")
    with duckdb.connect(str(place.outside / "other.db")) as other:
        other.execute("create table t as select $secret as n", {"secret": SECRET})
    with closing(sqlite3.connect(place.outside / "other.sqlite")) as other, other:
        other.execute("create table t (n text)")
        other.execute("insert into t values (?)", (SECRET,))
    return place


@pytest.fixture(scope="module")
def asked(place: Place) -> Iterator[Lake]:
    with open_lake(place.home, confined=True) as lake:
        yield lake


# -- what is refused


@pytest.fixture(scope="module")
def before(place: Place, asked: Lake) -> dict[str, str]:
    asked.query("select count(*) from qrels")
    return place.digest()


def test_there_are_enough_hostile_statements() -> None:
    assert len(set(hostile.statements())) >= 400


@pytest.mark.parametrize(
    "part",
    [
        hostile.WHOLE,
        tuple(hostile.statements())[len(hostile.WHOLE) :: 2],
        tuple(hostile.statements())[len(hostile.WHOLE) + 1 :: 2],
    ],
    ids=["whole", "nested", "nested too"],
)
def test_hostile_statements_are_refused_and_leave_no_trace(
    part: tuple[str, ...], place: Place, asked: Lake, before: dict[str, str]
) -> None:
    own_frame = pl.DataFrame({"n": [1]})  # what DuckDB's Python client would find by its name
    passed = []
    for statement in part:
        try:
            passed.append((statement, asked.query(place.sql(statement))))
        except BadQuery as error:
            assert error.seen and SECRET not in str(error), statement
            assert "\n" not in error.rule + error.remedy, statement
    assert not passed
    assert own_frame.height == 1 and place.digest() == before
    assert asked.query("select count(*) as n from qrels")["n"].item() == ROWS


@pytest.mark.parametrize("statement", [s for s in hostile.TABLES if "ducklake" in s or "lake." in s])
def test_a_lake_that_may_be_written_refuses_as_well(
    statement: str, place: Place, before: dict[str, str]
) -> None:
    """The statement is judged by itself, whatever the connection would allow."""
    relations = safe_sql.Relations(frozenset({("main", "qrels")}), {}, frozenset())
    with duckdb.connect() as plain, pytest.raises(BadQuery, match="only reads the lake"):
        safe_sql.require_reading(f"from {place.sql(statement)}", lambda sql: _tree(plain, sql), relations)


# -- the second layer alone: the connection, whatever a statement says

JUDGED_ALONE = (
    "cleanup_old_files",
    "delete_orphaned",
    "sqlite",
    "arrow_scan",
    "pandas_scan",
    "python_map",
    "enable_logging",
)
"""DuckLake deletes files even on a lake attached read-only, the SQLite scanner opens files past DuckDB's
settings, three functions take addresses in memory (any number ends the process), and a log that cannot be
written ends it, too: before these stands the judgement of the statement alone.
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Another one: some of what follows changes the lake itself."""
    return made(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def unjudged(scratch: Place) -> Iterator[Lake]:
    with open_lake(scratch.home, confined=True) as lake:
        yield lake


def test_a_confined_connection_reads_nothing_outside(scratch: Place, unjudged: Lake) -> None:
    outside = Place(scratch.outside, scratch.outside)
    before = outside.digest()
    for statement in (s for s in hostile.TABLES if not any(word in s for word in JUDGED_ALONE)):
        try:
            answer = str(unjudged.rows(f"from {scratch.sql(statement)}").to_dicts())
        except Exception as error:  # noqa: BLE001 - whatever DuckDB and polars call it
            answer = str(error)
        assert SECRET not in answer, statement
    assert outside.digest() == before


@pytest.mark.parametrize(
    "statement",
    [
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set memory_limit = '1TB'",
        "attach '{outside}/other.db' as other",
        "copy (select 1) to '{outside}/out.csv'",
        "insert into qrels select * from qrels",
        "drop table qrels",
        "load '{outside}/evil.duckdb_extension'",
        "install spatial",
        "create persistent secret mine (type s3, key_id 'k', secret 's')",
        "from '~/../../../../../../../../etc/passwd'",
        "from read_text('~/../../../../../outside/secret.txt')",
        "from own_frame",
    ],
)
def test_a_confined_connection_allows_no_other_place_and_no_other_setting(
    statement: str, place: Place, asked: Lake, before: dict[str, str]
) -> None:
    own_frame = pl.DataFrame({"n": [1]})
    with pytest.raises(duckdb.Error):
        asked.execute(place.sql(statement))
    assert own_frame.height == 1 and place.digest() == before


def test_what_the_judgement_alone_stands_before_is_known(scratch: Place, unjudged: Lake) -> None:
    """A new version that refuses this makes JUDGED_ALONE shorter."""
    assert unjudged.rows(scratch.sql("from sqlite_scan('{outside}/other.sqlite', 't')"))["n"].to_list() == [
        SECRET
    ]


def _tree(plain: duckdb.DuckDBPyConnection, sql: str) -> dict:
    return json.loads(plain.execute("select json_serialize_sql($1::varchar)", [sql]).fetchall()[0][0])


@pytest.mark.parametrize(
    ("planted", "asks", "seen"),
    [
        (
            "create macro lower(x) as (select content from read_text('/etc/hostname'))",
            "select lower('A')",
            "lower",
        ),
        ("create macro range(x) as table from read_text('/etc/hostname')", "from range(1)", "range"),
        ("create macro duckdb_tables() as table select 'x' as a", "show tables", "duckdb_tables"),
        ("create macro MIN(x) as 1", "summarize qrels", "min"),
        (
            "create macro json_serialize_sql(x) as '{}'",
            "from read_text('/etc/hostname')",
            "json_serialize_sql",
        ),
        (
            "create view planted as from read_text('/etc/hostname')",
            "from planted",
            "view planted: table function read_text",
        ),
        ("create view planted as from duckdb_secrets()", "with a as (from planted) from a", "duckdb_secrets"),
        (
            'create view "odd AS select 1 --" as from duckdb_secrets()',
            'from "odd AS select 1 --"',
            "cannot be told",
        ),
        (
            "create view inner_one as from duckdb_secrets(); create view planted as from inner_one",
            "from planted",
            "inner_one",
        ),
    ],
)
def test_what_somebody_planted_in_the_lake_is_seen_through(
    planted: str, asks: str, seen: str, home: Path
) -> None:
    """Macros of the lake go before DuckDB's functions of the same name; views hold statements."""
    with open_lake(home) as lake:
        lake.execute(planted)
    with open_lake(home, confined=True) as lake, pytest.raises(BadQuery) as caught:
        lake.query(asks)
    assert seen in caught.value.seen


# -- what still runs

FRIENDLY = (
    (
        "select count(*), count(distinct task), sum(relevance), avg(relevance), median(relevance),"
        " stddev(relevance) from qrels"
    ),
    (
        "select quantile_cont(relevance, [0.1, 0.9]), mode(relevance), approx_quantile(relevance, 0.5),"
        " mad(relevance) from qrels"
    ),
    (
        "select any_value(task), first(task), last(task), arg_max(item_id, relevance), max_by(item_id,"
        " relevance, 3) from qrels"
    ),
    (
        "select list(item_id order by relevance desc)[1:3], string_agg(item_id, ',' order by item_id) from"
        " qrels group by query_id"
    ),
    (
        "select histogram(relevance), entropy(task), corr(relevance, relevance), bool_and(relevance > 0) from"
        " qrels"
    ),
    "select task, count(*) filter (where relevance > 0) as n from qrels group by all order by all",
    "select task, grouping(task), count(*) from qrels group by rollup (task)",
    (
        "select row_number() over (partition by task order by item_id), rank() over w, lag(item_id) over w,"
        " ntile(4) over w, avg(relevance) over (order by item_id rows between 2 preceding and current row)"
        " from qrels window w as (order by item_id)"
    ),
    "select * from qrels qualify row_number() over (partition by query_id order by relevance desc) = 1",
    "select * exclude (task) replace (relevance * 2 as relevance) from qrels limit 3",
    "select * rename (task as what) from qrels limit 3",
    "select columns('.*_id') from qrels limit 1",
    "select columns(c -> c like '%id') from qrels limit 1",
    "from qrels select item_id where relevance >= 1 order by item_id limit 10 offset 5",
    "table qrels",
    "select count(*) from quarantine.qrels__k3",
    "values (1, 'a'), (2, 'b')",
    (
        "select list_transform([1, 2], lambda x: x + 1), list_filter([1, 2], lambda x: x > 1),"
        " list_reduce([1, 2], lambda a, b: a + b)"
    ),
    (
        "select [x * 2 for x in [1, 2] if x > 1], list_sort([2, 1]), list_contains([1], 1), list_distinct([1,"
        " 1]), [1, 2][1]"
    ),
    (
        "select len([1]), flatten([[1], [2]]), list_zip([1], [2]), list_aggregate([1, 2], 'sum'),"
        " array_to_string(['a'], ','), [1] || [2]"
    ),
    (
        "select list_cosine_similarity([1.0, 2.0], [2.0, 1.0]), array_inner_product([1, 2]::float[2],"
        " [2, 1]::float[2])"
    ),
    (
        "select {'a': 1, 'b': {'c': 'x'}}.b.c, struct_pack(a := 1), struct_extract({'a': 1}, 'a'), row(1,"
        " 2)[1], struct_insert({'a': 1}, b := 2)"
    ),
    (
        "select map {'a': 1}['a'], map_keys(map {'a': 1}), map_from_entries([('a', 1)]), cardinality(map"
        " {'b': 1})"
    ),
    (
        "select '{\"a\": [1]}'::json -> 'a' ->> 0, json_extract_string('{\"a\": 1}', '$.a'),"
        " json_array_length('[1]'), to_json({'a': 1})"
    ),
    (
        "select json_object('a', 1), json_group_array(item_id), json_structure('{}'), from_json('{\"a\": 1}',"
        ' \'{"a": "INTEGER"}\') from qrels'
    ),
    "select j.key, t.path from json_each('[1, 2]') j, json_tree('{\"a\": 1}') t",
    (
        "select regexp_extract('ab12', '[0-9]+'), regexp_replace('ab', 'a', 'b'), regexp_matches('ab', 'a'),"
        " 'ab' similar to 'a.*', 'ab' ~ 'a.'"
    ),
    (
        "select 'a' like 'A', 'a' ilike 'A', 'a' glob '*', 'a' || 'b', upper('a'), trim(' a '),"
        " split_part('a-b', '-', 1), 'abc'[2:3], 'a' ^@ 'a'"
    ),
    (
        "select levenshtein('a', 'b'), jaro_winkler_similarity('a', 'b'), md5('a'), sha256('a'), hash('a'),"
        " base64('a'::blob), format('{}', 1)"
    ),
    (
        "select substring('abc' from 2 for 1), position('b' in 'abc'), overlay_free from (select 1 as"
        " overlay_free)"
    ),
    "select item_id.upper().lower(), item_id.length() from qrels limit 1",
    (
        "select now() - interval 3 days as a, date_trunc('month', date '2026-11-29'), extract(year from date"
        " '2026-11-29'), age(timestamp '2026-01-01')::varchar"
    ),
    (
        "select strftime(date '2026-11-29', '%Y'), strptime('2026', '%Y'), epoch(timestamp '2026-01-01'),"
        " make_date(2026, 1, 1), current_date, current_timestamp"
    ),
    (
        "select date_diff('day', date '2026-01-01', date '2026-02-01'), last_day(date '2026-02-01'),"
        " dayname(date '2026-02-01'), time_bucket(interval 1 week, date '2026-02-03')"
    ),
    (
        "select timestamptz '2026-01-01 00:00:00+00' at time zone 'Europe/Paris', current_localtimestamp(),"
        " to_days(3)::varchar, today()"
    ),
    (
        "select abs(-1), round(1.234, 2), ceil(1.2), floor(1.2), ln(2), log(10), pow(2, 3), 2 ** 3, 5 // 2, 5"
        " % 2, sqrt(2), greatest(1, 2), pi(), random()"
    ),
    "select isnan('nan'::float), sign(-1), 1 & 1, 1 | 2, 1 << 2, xor(1, 2), ~1, @ -1, 5!",
    (
        "select coalesce(null, 1) as a, nullif(1, 1), ifnull(null, 1) as b, case 1 when 1 then 'a' else 'b'"
        " end, if(true, 1, 2), try_cast('a' as integer), try(1 / 0)"
    ),
    (
        "select typeof(1), cast('1' as bigint), '1'::decimal(3, 1), 'a'::varchar collate nocase = 'A', 1"
        " between 0 and 2, 1 is distinct from null"
    ),
    (
        "select 1 in (1, 2), 1 not in (select 2), exists (from qrels), 1 = any ([1, 2]), (select"
        " max(relevance) from qrels)"
    ),
    "with a as (from qrels), b as (select count(*) as n from a) select * from b, a limit 1",
    "with recursive n as (select 1 as i union all select i + 1 from n where i < 5) select sum(i) from n",
    "with a as materialized (from qrels) select count(*) from a join a b using (item_id)",
    "with qrels as (select 1 as mine) select mine from qrels",
    (
        "select count(*) from qrels a left join queries q on q.query_id = a.query_id semi join stage_runs r"
        " on r.batch_id = a.batch_id"
    ),
    "select * from qrels a, lateral (select a.relevance + 1 as more) limit 1",
    "select * from qrels anti join items using (item_id) limit 1",
    (
        "select a.item_id from qrels a asof join qrels b on a.task = b.task and a.relevance >= b.relevance"
        " limit 1"
    ),
    "select a.item_id from qrels a positional join qrels b limit 1",
    "select 1 as a union select 2 intersect select 2 except select 3",
    "select 1 as a union all by name select 2 as b",
    "select unnest([1, 2]), unnest({'a': 1}, recursive := true)",
    "from unnest([1, 2]) as t(n)",
    "select * from range(5) t(i), generate_series(1, 3), repeat('a', 2)",
    "from range(3) with ordinality",
    "pivot qrels on task in ('t', 'u') using count(*) group by query_id",
    "from qrels pivot (count(*) for task in ('t', 'u'))",
    "unpivot (select 1 as a, 2 as b) on a, b into name n value v",
    "from (select 1 as a, 2 as b) unpivot (v for n in (a, b))",
    "select * from qrels using sample 10 rows",
    "select * from qrels tablesample reservoir(10%)",
    "describe qrels",
    "describe select 1 as n",
    "summarize qrels",
    "summarize select relevance from qrels",
    "show qrels",
    "show tables",
    "show all tables",
    "show tables from lake",
    "show tables from lake.main",
    "show schemas",
    "describe",
    "select column_name from (describe qrels)",
    "select table_name from duckdb_tables() where database_name = 'lake'",
    "select view_name, comment from duckdb_views() where not internal",
    "from duckdb_columns() where table_name = 'qrels'",
    "from duckdb_columns where table_name = 'qrels'",
    "select * from information_schema.tables",
    "select * from information_schema.columns where table_name = 'qrels'",
    "select distinct function_name from duckdb_functions() where function_name like 'list%'",
    "from lake.snapshots()",
    "select * from ducklake_snapshots('lake')",
    "from lake.current_snapshot()",
    "from ducklake_table_info('lake')",
    "select change_type, count(*) from lake.table_changes('qrels', {then}, {then}) group by all",
    "select count(*) from qrels at (version => {then})",
    "select count(*) from qrels at (timestamp => now())",
    "select count(*) from lake.qrels",
    "select count(*) from lake.main.qrels",
    "select count(*) from main.qrels",
    "SELECT COUNT(*) FROM QRELS",
    'select count(*) from "qrels" as "Q"',
    "select 'delete from qrels; drop table qrels' as text -- ; delete from qrels",
    "select 1 as \"read_text('x')\", 'read_text' as read_text;",
    "/* from '/etc/passwd' */ select 1",
    "select version(), current_schema(), current_database()",
    "select snapshot_id, rowid from qrels limit 1",
)
"""What analysts ask."""


@pytest.mark.parametrize("statement", FRIENDLY)
def test_what_analysts_ask_is_answered(statement: str, place: Place, asked: Lake) -> None:
    assert asked.query(place.sql(statement)).width


def test_a_pivot_without_its_values_says_what_to_name(asked: Lake) -> None:
    with pytest.raises(BadQuery) as caught:
        asked.query("pivot qrels on task using count(*)")
    assert "pivot … on mode in" in caught.value.remedy


def questions() -> Iterator[tuple[str, str]]:
    """Saved questions and whatever README, docs and the program itself say to type."""
    for path in sorted((PROJECT / "sql" / "adhoc").glob("*.sql")):
        yield path.name, path.read_text(encoding="utf-8")
    pages = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))]
    for path in [*pages, *sorted((PROJECT / "ranker").rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        for number, found in enumerate(re.finditer(r'ranker query \\?"([^"\\]+)\\?"', text)):
            if found[1].count("'") % 2 == 0:  # else it goes on in the next line of a Python text
                yield f"{path.name} {number}", found[1]
        for number, found in enumerate(re.finditer(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)):
            if not re.match(r"\s*(--.*\n)*\s*create", found[1]):
                yield f"{path.name} sql {number}", found[1]


QUESTIONS = dict(questions())


def test_the_written_questions_are_found() -> None:
    assert len(QUESTIONS) >= 40 and {"README.md 0", "lake.md sql 0", "leaks.sql"} <= set(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_written_question_runs(name: str, place: Place, asked: Lake) -> None:
    assert asked.query(re.sub(r"version => \d+", f"version => {place.then}", QUESTIONS[name])).width


def test_every_function_of_duckdb_was_looked_at(asked: Lake) -> None:
    """A new version brings new ones: admit them in safe_sql, or name them here."""
    with duckdb.connect() as plain:
        found = plain.execute(
            "select distinct lower(function_name) from duckdb_functions() where function_type in ('scalar',"
            " 'aggregate', 'macro')"
        ).fetchall()
    there = {name for (name,) in found}
    looked_at = safe_sql.FUNCTIONS | REFUSED
    assert sorted(name for name in there - looked_at if not REVIEWED.match(name)) == []
    assert sorted(looked_at - there) == ["unnest"], "which the parser knows itself"
    assert not safe_sql.FUNCTIONS & REFUSED


# -- limits


def test_a_query_without_end_ends(asked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERY_SECONDS", 0.5)
    with pytest.raises(BadQuery, match=r"0\.5 seconds"):
        asked.query(
            "select count(*) from range(1000000000) a, range(1000000000) b where a.range * b.range % 7 = 3"
        )
    monkeypatch.undo()
    assert asked.query("select 1 as n")["n"].item() == 1


def test_deep_nesting_is_an_error_and_no_crash(asked: Lake) -> None:
    asked.query(f"select {' + '.join(['1'] * 400)} as n")
    assert asked.query(f"select {'(' * 5000}1{')' * 5000} as n")["n"].item() == 1
    for deep in (f"select {' || '.join(['1'] * 5000)}", f"select {'[' * 5000}1{']' * 5000}"):
        with pytest.raises(BadQuery):
            asked.query(deep)


# -- the commands


@pytest.mark.parametrize("options", [[], ["--at", "{then}"]], ids=["now", "then"])
@pytest.mark.parametrize("command", ["query", "shell"])
def test_the_commands_refuse_with_one_block(
    command: str, options: list[str], place: Place, before: dict[str, str]
) -> None:
    sql = place.sql("select * from read_text('{outside}/secret.txt')")
    given = ["query", sql] if command == "query" else ["shell"]
    done = ranker(*given, *map(place.sql, options), "--home", str(place.home), stdin=f"{sql};\n")
    assert done.exit_code == 2 and "read_text" in done.stderr and "remedy" in done.stderr
    assert SECRET not in done.output and "Traceback" not in done.output
    assert place.digest() == before


def test_the_shell_confines_what_it_asks_itself(place: Place) -> None:
    done = ranker(
        "shell", "--home", str(place.home), stdin=".tables\n.schema qrels\n.ask leaks\n.ask ../lake/clean\n"
    )
    assert done.exit_code == 2 and "relevance" in done.stdout and "question must be one of" in done.stderr
