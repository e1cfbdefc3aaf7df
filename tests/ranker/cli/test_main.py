"""The command line: what it accepts, how it fails, what it prints."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from ranker.cli.main import app
from ranker.cli.params import nested, parameters
from ranker.config import parse_params
from ranker.errors import BadConfig
from ranker.lake import open_lake
from ranker.refs import PROJECT
from tests.ranker.evaluated import scored, trained

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
LAKE_COMMANDS = sorted(get_command(app).commands["lake"].commands)  # type: ignore[attr-defined]


def ranker(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "160"})


@pytest.fixture
def written(home: Path) -> str:
    """An evaluation in the lake of $RANKER_HOME."""
    with open_lake(home) as lake:
        return scored(lake, "aa01", trained(lake, "aaaa")).key


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_so_has_every_option(command: str) -> None:
    shown = ranker(command, "--help")
    assert shown.exit_code == 0
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{command} {parameter.name} says nothing of itself"


@pytest.mark.parametrize(
    ("group", "command"), [*(("lake", command) for command in LAKE_COMMANDS), ("audit", "position-bias")]
)
def test_so_have_those_of_groups(group: str, command: str) -> None:
    shown = ranker(group, command, "--help")
    assert shown.exit_code == 0
    for parameter in get_command(app).commands[group].commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{group} {command} {parameter.name} says nothing of itself"


def test_the_commands_are_those_that_the_documentation_promises() -> None:
    assert {
        "doctor",
        "fetch",
        "retrain",
        "query",
        "rank",
        "run",
        "rollback",
        "report",
        "lake",
        "shell",
        "replay",
        "contracts",
        "estimate",
        "study",
        "serve",
        "collect",
        "audit",
    } == set(COMMANDS)
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert all(f"ranker {command}" in readme for command in COMMANDS)
    said = (PROJECT / "docs" / "lake.md").read_text(encoding="utf-8")
    assert all(f"ranker lake {command}" in said for command in LAKE_COMMANDS)


# --- parameters
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train.sft.max_steps=100", {"train": {"sft": {"max_steps": 100}}}),
        ("train.sft.learning_rate=1e-4", {"train": {"sft": {"learning_rate": 1e-4}}}),
        ('ingest.tasks=["synthetic"]', {"ingest": {"tasks": ["synthetic"]}}),
        ("evaluate.extra_model=", {"evaluate": {"extra_model": ""}}),
        ("ingest.locations.rec-movie=/a/b", {"ingest": {"locations": {"rec-movie": "/a/b"}}}),
        ("register.promote=false", {"register": {"promote": False}}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
    ],
)
def test_set_takes_a_dotted_name_and_a_toml_value(given: str, expected: dict) -> None:
    assert nested(given) == expected


@pytest.mark.parametrize("given", ["train.sft.max_steps", "=3", "train..steps=3", ""])
def test_set_without_a_name_or_a_value_is_refused(given: str) -> None:
    with pytest.raises(BadConfig, match="NAME=VALUE"):
        nested(given)


def test_options_are_laid_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text(
        'preset = "tiny"\n[train.sft]\nmax_steps = 7\nper_device_train_batch_size = 5\n[register]\nname ='
        ' "mine"\n'
    )
    params = parameters("mini", "", "", ["train.sft.max_steps=9"], file, ["train", "evaluate"])
    assert (params.preset, params.train.sft.max_steps, params.train.sft.per_device_train_batch_size) == (
        "tiny",
        9,
        5,
    )
    assert (params.train.grpo.max_steps, params.register_.name, params.force) == (
        parse_params({"preset": "tiny"}).train.grpo.max_steps,
        "mine",
        ("train", "evaluate"),
    )


def test_a_file_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_text(json.dumps({"preset": "tiny", "evaluate": {"max_queries": 3}}))
    assert parameters("mini", "", "", None, file).evaluate.max_queries == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["retrain", "--preset", "huge"], "'huge'"),
        (["retrain", "--set", "train.sft.max_stepz=3"], "train.sft.max_stepz"),
        (["retrain", "--set", "train.sft.max_steps=-3"], "train.sft.max_steps"),
        (["retrain", "--params", "/nowhere.toml"], "/nowhere.toml"),
        (["run", "digest"], "'digest'"),
        (["rank", "--strategy", "guess"], "'guess'"),
        (["serve", "--strategy", "guess"], "'guess'"),
        (["serve", "--model", "models:/r1-ranker"], "'models:/r1-ranker'"),
        (["serve", "--model", "/nowhere"], "/nowhere"),
        (["serve", "--host", "0.0.0.0", "--token-env", "NO_SUCH_TOKEN"], "asks for a token"),
        (["serve", "--task", "guess"], "'guess'"),
        (["query", "select 1"], "no lake"),
        (["report"], "no lake"),
        (["replay", "abc", "--strategy", "guess"], "'guess'"),
        (["replay", "abc"], "no episode 'abc'"),
        (["lake", "snapshots"], "no lake"),
        (["lake", "reproduce", "abc"], "no lake"),
        (["audit", "position-bias", "abc", "--task", "synthetic", "--strategy", "guess"], "'guess'"),
        (["audit", "position-bias", "abc", "--task", "guess"], "'guess'"),
        (["rollback"], "no version"),
        (["rank", "--example", "synthetic"], "no lake"),
    ],
)
def test_a_mistake_is_one_readable_block_and_a_failing_exit_code(
    home: Path, arguments: list[str], says: str
) -> None:
    failed = ranker(*arguments)
    assert failed.exit_code == 2
    assert says in failed.stderr
    assert "remedy" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


def test_debug_shows_the_traceback(home: Path) -> None:
    assert isinstance(ranker("--debug", "query", "select 1").exception, Exception)
    assert not isinstance(ranker("--debug", "query", "select 1").exception, SystemExit)


# --- query
# ----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "sql",
    [
        "delete from evaluations",
        "drop table evaluations",
        "insert into items select * from items",
        "copy (select 1) to '/tmp/x.csv'",
        "select 1; delete from evaluations",
        "attach 'other.db'",
        "create table x as select 1",
        "selec 1",
        "select nothing from evaluations",
        "",
    ],
)
def test_query_reads_and_does_nothing_else(written: str, home: Path, sql: str) -> None:
    failed = ranker("query", sql)
    assert failed.exit_code == 2
    assert "BadQuery" in failed.stderr
    with open_lake(home, read_only=True) as lake:
        assert lake.rows("select count(*) from evaluations").item() > 0


# --- report and rank
# ------------------------------------------------------------------------------------------------


def test_report_prints_the_tables_and_writes_the_page(written: str, home: Path) -> None:
    shown = ranker("report")
    assert shown.exit_code == 0
    assert "0.600" in shown.stdout and "0.550–0.650" in shown.stdout and "above" in shown.stdout
    assert "rl − sft" in shown.stdout
    assert "No model version was registered" in shown.stdout
    assert (home / "reports" / f"{written}.html").exists()


def test_report_of_an_evaluation_that_is_not_there(written: str) -> None:
    failed = ranker("report", "--evaluation", "ffff")
    assert failed.exit_code == 2
    assert "ffff" in failed.stderr


@pytest.mark.parametrize("stdin", ["", "no json", "[]", '{"task": "synthetic"', "3"])
def test_rank_wants_one_json_object(home: Path, stdin: str) -> None:
    failed = ranker("rank", stdin=stdin)
    assert failed.exit_code == 2
    assert "rank request" in failed.stderr


def test_rank_without_a_model_says_how_to_get_one(home: Path) -> None:
    failed = ranker(
        "rank", stdin='{"task": "synthetic", "query": "a1", "candidates": [{"id": "x"}, {"id": "y"}]}'
    )
    assert failed.exit_code == 2
    assert "needs a model" in failed.stderr


# --- doctor
# ---------------------------------------------------------------------------------------------------------


def test_doctor_finds_a_working_machine(home: Path) -> None:
    shown = ranker("doctor", "--preset", "tiny")
    assert shown.exit_code == 0, shown.stdout
    for line in ("Python", "Packages", "Lake", "Data synthetic", "Disk", "GPU", "Prefect"):
        assert line in shown.stdout


def test_doctor_says_what_is_missing_and_how_to_mend_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    shown = ranker("doctor", "--preset", "smollm2")
    assert shown.exit_code == 1
    for remedy in ("ranker fetch", "prefect server start", "ingest.locations.rec-movie"):
        assert remedy in shown.stdout


def test_help_needs_neither_torch_nor_prefect() -> None:
    script = (
        "import sys, ranker.cli.main; print([m for m in ('torch', 'prefect', 'mlflow', 'great_expectations',"
        " 'transformers') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
        ).stdout.strip()
        == "[]"
    )


# --- the lake
# -------------------------------------------------------------------------------------------------------


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
    assert len(rows.splitlines()) == 2 and "insert" in rows
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


def test_the_shell_reads_a_pipe_and_fails_with_its_statements(written: str) -> None:
    good = ranker("shell", "--format", "csv", stdin="select count(*) as n\nfrom stage_runs;\n")
    assert (good.exit_code, good.stdout) == (0, "n\n2\n")
    bad = ranker("shell", stdin="select nonsense;\nselect 41 + 1 as n;\n")
    assert bad.exit_code == 2 and "nonsense" in bad.stderr and "42" in bad.stdout
