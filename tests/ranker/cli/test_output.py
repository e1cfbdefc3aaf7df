"""How rows and mistakes are printed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ranker.cli.main import app
from ranker.cli.output import Format, plain, show
from ranker.lake import Lake, open_lake
from tests.ranker.cli.commands import ranker
from tests.ranker.datasets.awkward import TEXTS


def test_query_prints_a_table(written: str) -> None:
    shown = ranker("query", "select arm, value from evaluations where metric = 'RR' order by arm")
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines() if line.strip(" ─")]
    assert rows == [["arm", "value"], ["random", "0.4"], ["rl", "0.6"], ["sft", "0.5"]]


def test_a_result_wider_than_the_terminal_is_shown_as_records(written: str) -> None:
    shown = CliRunner().invoke(
        app,
        ["query", "select * from evaluations where arm = 'random' and metric = 'RR'"],
        env={"COLUMNS": "60"},
    )
    assert [line.split() for line in shown.stdout.splitlines() if line.startswith(("task", "value"))] == [
        ["task", "synthetic"],
        ["value", "0.4"],
    ]


def test_a_long_text_may_run_over_lines_so_that_a_table_stays_one(written: str) -> None:
    shown = CliRunner().invoke(app, ["lake", "snapshots"], env={"COLUMNS": "120"}).stdout
    assert "─ 1" not in shown and max(map(len, shown.splitlines())) <= 120
    assert f"evaluate {written} wrote it" in " ".join(shown.split())
    assert "─ 1" in CliRunner().invoke(app, ["lake", "snapshots"], env={"COLUMNS": "60"}).stdout


def test_query_gives_csv_with_nested_values_as_json(written: str) -> None:
    shown = ranker("query", "--format", "csv", "select stage, inputs from stage_runs order by stage")
    assert list(csv.reader(io.StringIO(shown.stdout))) == [
        ["stage", "inputs"],
        ["candidates", "[]"],
        ["evaluate", '["sets0", "aaaa"]'],
        ["train", "[]"],
    ]


def test_query_gives_json(written: str) -> None:
    shown = ranker(
        "query", "--format", "json", "select count(*) as n, max(finished_at) as at from stage_runs"
    )
    assert json.loads(shown.stdout)[0]["n"] == 3


def test_query_answers_an_empty_result_with_its_head(written: str) -> None:
    assert ranker("query", "--format", "csv", "select task from evaluations where false").stdout == "task\n"


TYPES: dict[str, tuple[str, object]] = {
    "sum(x::hugeint)": ("select sum(x) from range(3) as t(x)", 3),
    "a 128-bit number": ("select 170141183460469231731687303715884105727::hugeint", 2**127 - 1),
    "unsigned": ("select 340282366920938463463374607431768211455::uhugeint", str(2**128 - 1)),
    "sums in a list": ("select list(s) from (select sum(x) as s from range(3) as t(x))", [3]),
    "a decimal": ("select 1.50::decimal(9, 2)", 1.5),
    "a whole decimal": ("select 99999999999999999999999999999999999999::decimal(38, 0)", 10**38 - 1),
    "NaN": ("select 'nan'::double", None),
    "infinity": ("select '-inf'::float", None),
    "NaN in a list": ("select ['nan'::double, 1]", [None, 1.0]),
    "an average of nothing": ("select avg(x) from range(0) as t(x)", None),
    "an interval": ("select timestamp '2026-03-02' - timestamp '2026-03-01 23:00'", "01:00:00"),
    "months": ("select interval 14 months", "1 year 2 months"),
    "intervals in a struct": (
        "select {'a': interval 1 day, 'b': [interval 2 days], 'the c': 1}",
        {"a": "1 day", "b": ["2 days"], "the c": 1},
    ),
    "a map": ("select map {'a': 1}", {"a": 1}),
    "a map of intervals": ("select map {'a': interval 1 day}", {"a": "1 day"}),
    "an array": ("select [1, 2]::integer[2]", [1, 2]),
    "a union": ("select union_value(n := 1)", "1"),
    "a blob": ("select 'a\\x00b'::blob", "a\\x00b"),
    "bits": ("select '0101'::bit", "0101"),
    "an id": ("select '00000000-0000-0000-0000-00000000000a'::uuid", "00000000-0000-0000-0000-00000000000a"),
    "a kind": ("select 'b'::enum ('a', 'b')", "b"),
    "a day": ("select date '2026-03-01'", "2026-03-01"),
    "a time": ("select time '01:02:03'", "01:02:03"),
    "a time somewhere": ("select '01:02:03+02'::timetz", "01:02:03+02"),
    "a moment": ("select timestamptz '2026-03-01 00:00:00+00'", "2026-03-01 00:00:00+00:00"),
    "nanoseconds": ("select '2026-03-01 00:00:00.000000001'::timestamp_ns", "2026-03-01 00:00:00"),
    "true": ("select true", True),
    "nothing": ("select null", None),
    "JSON": ("select '[1]'::json", "[1]"),
    "markup": ("select '[/INST] [bold]x [test] :smile:'", "[/INST] [bold]x [test] :smile:"),
    "no letters": ("select chr(0) || chr(27)", "\x00\x1b"),
    "both directions": ("select 'אב\u202ecd'", "אב\u202ecd"),
}
"""What DuckDB can hold -> as JSON has it."""


Printed = Callable[[str, Format], str]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with open_lake(tmp_path_factory.mktemp("lake")) as lake:
        yield lake


@pytest.fixture
def printed(opened: Lake, capsys: pytest.CaptureFixture[str]) -> Printed:
    """What `ranker query` prints of a statement."""

    def asked(sql: str, form: Format) -> str:
        show(opened.query(sql), form)
        return capsys.readouterr().out

    return asked


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_printed_in_every_form(name: str, printed: Printed) -> None:
    sql, value = TYPES[name]
    sql = f"select * from ({sql}) as t(v)"
    assert strictly(printed(sql, Format.json)) == [{"v": value}]
    table, lines = printed(sql, Format.table), printed(sql, Format.csv)
    if isinstance(value, str) and value.isprintable():
        shown = value.partition("+00:00")[0]
        assert shown in table and shown.replace(" ", "T") in lines.replace(" ", "T")
    elif isinstance(value, list | dict):
        ((cell,),) = list(csv.reader(io.StringIO(lines)))[1:]
        assert strictly(cell) == value


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "lone surrogate"])  # SQL has none
def test_awkward_texts_come_out_as_they_stand(name: str, printed: Printed) -> None:
    parts = [f"'{part.replace(chr(39), 2 * chr(39))}'" for part in TEXTS[name].split("\0")]
    sql = f"select {' || chr(0) || '.join(parts)} as v"
    assert strictly(printed(sql, Format.json)) == [{"v": TEXTS[name]}]
    assert list(csv.reader(io.StringIO(printed(sql, Format.csv), newline="")))[1:] == [[TEXTS[name]]]
    table = printed(sql, Format.table)
    assert not re.search("[\x00\x1b]", table), "nothing that a terminal obeys"
    assert TEXTS[name].strip() in table or not TEXTS[name].isprintable() or len(TEXTS[name]) > 200


def test_query_prints_all_of_them_side_by_side(written: str) -> None:
    columns = ", ".join(f'({sql}) as "{name}"' for name, (sql, _) in TYPES.items())
    for form in Format:
        shown = ranker("query", "--format", form, f"select {columns}")
        assert shown.exit_code == 0, shown.output


def strictly(text: str) -> object:
    """JSON as other languages read it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_looks_like_markup_is_shown_in_heads_and_records(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = 'select 1 as "[/INST]", \'[/b]\' as "[bold]", 2 as "a.b", 3 as "q"""'
    for width in ("200", "20"):
        monkeypatch.setenv("COLUMNS", width)
        text = "".join(printed(sql, Format.table).split())
        assert all(part in text for part in ("[/INST]", "[bold]", "[/b]", "a.b", 'q"'))


def test_columns_of_one_name_are_both_shown(printed: Printed) -> None:
    for sql in ("select 1 as a, 2 as a, 3 as b", "select interval 1 day as a, 2 as a, 3 as b"):
        (row,) = json.loads(printed(sql, Format.json))
        assert list(row.values())[1:] == [2, 3]


def test_rows_keep_the_order_that_was_asked_for(printed: Printed) -> None:
    sql = "select x, interval (x) days as v from range(50) as t(x) order by x desc limit 40"
    assert [row["x"] for row in json.loads(printed(sql, Format.json))] == list(range(49, 9, -1))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.decimals()
        | st.text()
        | st.binary()
        | st.timedeltas(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_value_is_json(value: object) -> None:
    made = json.dumps(plain(value), allow_nan=False)
    assert strictly(made) == plain(value)
