"""What holds for every command: an example in its help, JSON for programs, text alone where that is asked
for, and completion in a shell.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ranker.cli.codes import Code
from ranker.refs import PROJECT
from tests.docs.test_documents import command_fault
from tests.ranker.cli.commands import document, every, ranker
from tests.ranker.cli.test_live import on_a_terminal

ALL = dict(every())
PAGE = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")
ASKED: dict[str, tuple[str, ...]] = {
    "doctor": ("--preset", "tiny"),
    "fetch": ("--preset", "tiny"),
    "estimate": ("--preset", "tiny"),
    "query": ("select * from evaluations",),
    "report": (),
    "gc": (),
    "collect": (),
    "lake snapshots": (),
    "lake diff": ("1", "2"),
    "lake expire": ("--dry-run",),
    "lake compact": (),
    "lake export": ("exported",),
    "lake attach": (),
}
"""Commands that a data folder with an evaluation is enough for."""
ELSEWHERE = {
    "init": "tests/ranker/cli/test_own_data.py",
    "validate": "tests/ranker/cli/test_own_data.py",
    "export-run": "tests/ranker/cli/test_export.py",
    "contracts docs": "tests/ranker/cli/test_contracts.py",
    "compare": "tests/ranker/cli/test_main.py",
    "promote": "tests/ranker/cli/test_main.py",
    "rollback": "tests/ranker/cli/test_main.py",
    "audit position-bias": "tests/ranker/cli/test_audit.py",
    "audit injection": "tests/ranker/cli/test_audit.py",
    "audit sealed": "tests/ranker/cli/test_main.py",
    "audit traffic": "tests/ranker/cli/test_feedback.py",
    "export-clicks": "tests/ranker/cli/test_feedback.py",
    "forget": "tests/ranker/cli/test_feedback.py",
    "study": "tests/flows/test_studies.py",
    "replay": "tests/flows/test_replay.py",
    "lake reproduce": "tests/flows/test_reproduce.py",
    "retrain": "tests/flows/test_retrain.py",
    "run": "tests/flows/test_retrain.py",
    "bootstrap": "tests/flows/test_bootstrap.py",
    "watch": "tests/flows/test_bootstrap.py",
}
"""Those that need more, and the test that asks them."""
WITHOUT = {
    "rank": "it prints JSON, always",
    "shell": "a prompt: one answer a statement; --format",
    "serve": "a server",
    "ui": "a server",
}
"""Those without --json, and why."""


def options(command: str) -> set[str]:
    return {name for parameter in ALL[command].params for name in parameter.opts}


@pytest.mark.parametrize("command", ALL)
def test_its_help_has_an_example_that_can_be_typed(command: str) -> None:
    said = " ".join(ALL[command].help.split())
    (example,) = re.findall(r"For example: `(ranker [^`]+)`", said)
    assert example.startswith(f"ranker {command}")
    parts = [re.sub(r" > .*", "", part) for part in example.split(" | ")]
    assert not [fault for part in parts if (fault := command_fault(part, True))]
    shown = " ".join(ranker(*command.split(), "--help").stdout.replace("│", " ").split())
    assert f"For example: {example}" in shown


def test_every_command_gives_json_or_says_why_not() -> None:
    assert {*ASKED, *ELSEWHERE} == {name for name in ALL if "--json" in options(name)}
    assert set(WITHOUT) == set(ALL) - {*ASKED, *ELSEWHERE}
    for command, path in ELSEWHERE.items():
        text = (PROJECT / path).read_text(encoding="utf-8")
        words = r",\s*".join(f'"{word}"' for word in command.split())
        assert re.search(rf"document\(\s*{words}", text), f"{path} asks {command} for no document"
    for command, reason in WITHOUT.items():
        assert f"| `ranker {command}` | {reason} |" in PAGE


@pytest.mark.parametrize("command", ASKED)
def test_json_is_one_document_and_stdout_has_nothing_else(
    written: str, home: Path, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {Code.done, Code.no} if command in ("doctor", "estimate") else {Code.done}
    done = ranker(*command.split(), *ASKED[command], "--json")
    assert done.exit_code in known, (done.output, done.exception)
    assert json.loads(done.stdout) is not None or command == "collect"
    assert "\x1b" not in done.output


def test_rank_needs_no_such_option(written: str, home: Path) -> None:
    failed = ranker("rank", "--example", "synthetic", "--json")
    assert failed.exit_code == Code.refused


@pytest.mark.parametrize("command", ALL)
def test_no_help_has_an_escape_where_there_is_no_terminal(command: str) -> None:
    assert "\x1b" not in ranker(*command.split(), "--help").output


IN_TURN = """
import sys
from ranker.cli.main import app
for command in (["--help"], ["gc", "--help"], ["gc"], ["gc", "--nonsense"], ["doctor", "--preset", "tiny"],
                ["query", "select * from evaluations"], ["report"], ["lake", "compact"]):
    try:
        app(command, prog_name="ranker")
    except SystemExit as end:
        print(f"exit {end.code}")
"""


def test_on_a_terminal_no_color_leaves_no_escape(written: str, home: Path) -> None:
    """Neither in help, mistakes, tables, nor errors; without it there are some."""
    plain = on_a_terminal(IN_TURN, {"NO_COLOR": "1"})
    assert "\x1b" not in plain and plain.count("exit ") == 8 and "Usage" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b[" in on_a_terminal(IN_TURN, {"NO_COLOR": ""})


# -- completion


def test_bash_completes_commands_options_and_the_users_own_names(home: Path, tmp_path: Path) -> None:
    """By the script that `ranker --show-completion` gives, in a real bash."""
    (home / "presets").mkdir()
    (home / "presets" / "mine.toml").write_text('preset = "tiny"\n')
    program = tmp_path / "bin" / "ranker"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom ranker.cli.main import app\napp(prog_name='ranker')\n", encoding="utf-8"
    )
    program.chmod(0o755)
    script = """
eval "$(ranker --show-completion)"
complete -p ranker
for line in "ranker comp" "ranker lake ex" "ranker gc --ap" "ranker retrain --preset mi" "ranker run eval"; do
  COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$line
  _ranker_completion ranker; echo "$line: ${COMPREPLY[*]}"
done
"""
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "RANKER_HOME": str(home),
    }
    bash = ["bash", "--norc", "-c", script]
    done = subprocess.run(bash, env=environment, capture_output=True, text=True, check=True)
    registered, *completed = done.stdout.splitlines()
    assert registered.endswith("_ranker_completion ranker"), done
    assert completed == [
        "ranker comp: compare",
        "ranker lake ex: expire export",
        "ranker gc --ap: --apply",
        "ranker retrain --preset mi: mine",
        "ranker run eval: evaluate",
    ], done


def test_the_document_of_a_refusal_is_none(home: Path) -> None:
    """A program that asks for JSON gets a document or an exit code, never a half."""
    with pytest.raises(AssertionError, match="no lake"):
        document("query", "select 1")
