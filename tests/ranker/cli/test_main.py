"""The command line: what it accepts, how it fails, what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from ranker.cli.main import app
from ranker.config import RegisterParams
from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT
from ranker.stages import register, registry
from tests.ranker.cli.commands import document, ranker
from tests.ranker.evaluated import ACCEPT, scored, trained
from tests.ranker.material import read_in
from tests.ranker.studies.test_sealed import champion

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
AUDITS = sorted(get_command(app).commands["audit"].commands)  # type: ignore[attr-defined]
LAKE_COMMANDS = sorted(get_command(app).commands["lake"].commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_so_has_every_option(command: str) -> None:
    shown = ranker(command, "--help")
    assert shown.exit_code == 0
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{command} {parameter.name} says nothing of itself"


@pytest.mark.parametrize(
    ("group", "command"),
    [*(("lake", command) for command in LAKE_COMMANDS), *(("audit", command) for command in AUDITS)],
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
        "promote",
        "compare",
        "report",
        "lake",
        "shell",
        "replay",
        "contracts",
        "estimate",
        "export-run",
        "study",
        "serve",
        "collect",
        "export-clicks",
        "forget",
        "audit",
        "gc",
        "bootstrap",
        "watch",
        "init",
        "validate",
        "ui",
    } == set(COMMANDS)
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert all(f"ranker {command}" in readme for command in COMMANDS)
    assert all(f"ranker audit {command}" in readme for command in AUDITS)
    said = (PROJECT / "docs" / "lake.md").read_text(encoding="utf-8")
    assert all(f"ranker lake {command}" in said for command in LAKE_COMMANDS)


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
        (["export-run", "run.txt"], "no lake"),
        (["replay", "abc", "--strategy", "guess"], "'guess'"),
        (["replay", "abc"], "no episode 'abc'"),
        (["lake", "snapshots"], "no lake"),
        (["lake", "reproduce", "abc"], "no lake"),
        (["audit", "position-bias", "abc", "--task", "synthetic", "--strategy", "guess"], "'guess'"),
        (["audit", "position-bias", "abc", "--task", "guess"], "'guess'"),
        (["audit", "traffic", "abc", "--task", "synthetic"], "no lake"),
        (["audit", "traffic", "abc", "--task", "guess"], "'guess'"),
        (["forget", "u1"], "no lake"),
        (["export-clicks", "labels", "--task", "synthetic"], "no lake"),
        (["audit", "sealed"], "no version of 'r1-ranker' is champion"),
        (["rollback"], "no version"),
        (["promote", "9"], "no version 9"),
        (["compare", "1", "2"], "no lake"),
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


def test_a_version_is_promoted_by_hand_only_where_it_ranks(home: Path, empty_registry: Path) -> None:
    """And compared, here with itself."""
    params = RegisterParams()
    shutil.copy(empty_registry, home / "mlflow.db")
    with open_lake(home) as lake:
        model = trained(lake, "aaaa")
        scores = scored(lake, "aa01", model, rr=0.41)
        register.run(lake, params, trained=model, scores=scores, check=ACCEPT)
    refused = ranker("promote", "1")
    assert refused.exit_code == 2 and "not clear of random" in refused.stderr and "--anyway" in refused.stderr
    (gain, *_) = document("compare", "1", "1")["gains"]
    assert gain["task"] and gain["difference"]["value"] == 0.0
    same = ranker("compare", "1", "1").stdout
    assert "+0.000 [+0.000, +0.000]" in same and "1.0000" in same and "100" in same
    with open_lake(home) as lake:
        lake.execute("delete from candidate_sets")
    cannot = ranker("promote", "1", "--anyway")
    assert cannot.exit_code == 2 and "test queries must have been drawn" in cannot.stderr
    assert registry.champion(home, params) is None


def test_programs_promote_roll_back_and_read_the_sealed_queries(
    lake: Lake, home: Path, empty_registry: Path
) -> None:
    shutil.copy(empty_registry, home / "mlflow.db")
    source = read_in(lake, "synthetic")
    for key in ("aaaa", "bbbb"):
        champion(lake, source, key)
    lake.close()
    assert document("rollback") == {"name": "r1-ranker", "champion": "1", "former": "2"}
    assert document("promote", "2", "--anyway") == {"name": "r1-ranker", "champion": "2", "former": "1"}
    read = document("audit", "sealed")
    assert read["champion"]["version"] == "2" and read["readings"][0]["task"] == "synthetic"


@pytest.mark.parametrize(("given", "others"), [("", 0o077), ("007", 0o007), ("rubbish", 0o077)])
def test_files_are_for_their_owner_or_for_whom_it_says(
    given: str, others: int, home: Path, empty_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_registry, home / "mlflow.db")
    monkeypatch.setenv("RANKER_UMASK", given)
    before = os.umask(0o022)
    try:
        ranker("gc")
        with open_lake(home):
            pass
    finally:
        os.umask(before)
    made = [path for path in home.rglob("*") if "lake" in path.parts]
    assert len(made) > 5 and not [path for path in made if path.stat().st_mode & others]


def test_debug_shows_the_traceback(home: Path) -> None:
    assert isinstance(ranker("--debug", "query", "select 1").exception, Exception)
    assert not isinstance(ranker("--debug", "query", "select 1").exception, SystemExit)


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


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"", "on stdin"),
        (b"no json", "on stdin"),
        (b"[]", "one JSON object"),
        (b'{"task": "synthetic"', "on stdin"),
        (b"3", "one JSON object"),
        (b'{"task":\n "caf\xe9"}', "byte 0xe9 in line 2"),
        (b"[" * 100_000, "on stdin"),
        (b'{"task": ' + b"1" * 5_000 + b"}", "on stdin"),
        ("\ud800".encode("utf-16", "surrogatepass"), "UTF-8"),
    ],
)
def test_rank_wants_one_json_object(home: Path, stdin: bytes, says: str) -> None:
    failed = ranker("rank", stdin=stdin)
    assert failed.exit_code == 2, failed.exception
    assert "rank request" in failed.stderr and says in " ".join(failed.stderr.split())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_rank_reads_what_other_programs_write(home: Path, encoding: str) -> None:
    asked = '{"task": "synthetic", "query": "ä", "candidates": [{"id": "x"}, {"id": "y"}]}'
    assert "needs a model" in ranker("rank", stdin=asked.encode(encoding)).stderr


@pytest.mark.parametrize("command", [["query", "select '\udce9'"], ["report", "--evaluation", "\udce9"]])
def test_an_argument_that_is_no_text_is_one_block(written: str, command: list[str]) -> None:
    failed = ranker(*command)
    assert failed.exit_code == 2 and "UTF-8" in failed.stderr and "Traceback" not in failed.stderr


def test_rank_without_a_model_says_how_to_get_one(home: Path) -> None:
    failed = ranker(
        "rank", stdin='{"task": "synthetic", "query": "a1", "candidates": [{"id": "x"}, {"id": "y"}]}'
    )
    assert failed.exit_code == 2
    assert "needs a model" in failed.stderr


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
