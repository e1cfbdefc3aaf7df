"""How rows and mistakes are printed."""

from __future__ import annotations

import csv
import io
import json

from typer.testing import CliRunner

from ranker.cli.main import app
from tests.ranker.cli.commands import ranker


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
        ["evaluate", '["aaaa"]'],
        ["train", "[]"],
    ]


def test_query_gives_json(written: str) -> None:
    shown = ranker(
        "query", "--format", "json", "select count(*) as n, max(finished_at) as at from stage_runs"
    )
    assert json.loads(shown.stdout)[0]["n"] == 2


def test_query_answers_an_empty_result_with_its_head(written: str) -> None:
    assert ranker("query", "--format", "csv", "select task from evaluations where false").stdout == "task\n"
