"""Exit codes: documented, the same everywhere, and what an error that nobody expected leaves behind."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ranker import errors
from ranker.cli import doctor
from ranker.cli.codes import Code
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker

PAGE = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")


def documented() -> dict[int, str]:
    section = PAGE.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    return {int(code): said for code, said in re.findall(r"(?m)^\| (\d+) \| (.+) \|$", section)}


def test_the_table_has_every_code_and_no_other() -> None:
    ended_by_others = {143}
    assert set(documented()) == {*map(int, Code), *ended_by_others}
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    assert {one.exit_code for one in kinds if issubclass(one, errors.RankerError)} <= set(Code)


def test_no_command_ends_with_another() -> None:
    """Who ends a command names a `Code`, or an error's own."""
    for path in (PROJECT / "ranker" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(r"\b(Exit|exit)$", ast.unparse(node.func)):
                (given,) = node.args
                assert re.fullmatch(r"Code\.\w+|\w+\.exit_code", ast.unparse(given)), f"{path.name}: {given}"


def test_what_is_refused_is_2_and_what_may_pass_75(home: Path) -> None:
    assert ranker("query", "select 1").exit_code == Code.refused
    assert ranker("query", "--nonsense").exit_code == Code.refused
    assert ranker("watch").exit_code == Code.later


def test_a_fault_of_the_program_is_one_block_with_its_traceback_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda params: 1 / 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    failed = ranker("doctor")
    assert failed.exit_code == Code.faulty and failed.stdout == ""
    assert "ZeroDivisionError" in failed.stderr and "Traceback" not in failed.stderr
    (kept,) = tmp_path.glob("ranker-*.log")
    assert kept.name in "".join(failed.stderr.split()).replace("│", "")
    assert "Traceback" in kept.read_text(encoding="utf-8")
    assert isinstance(ranker("--debug", "doctor").exception, ZeroDivisionError)


def test_a_reader_that_is_gone_is_no_error(written: str, home: Path) -> None:
    """As `ranker query … | head -1`: nothing is said of it."""
    program = [sys.executable, "-c", "from ranker.cli.main import app; app()", "query"]
    command = [*program, "--format", "csv", "select range from range(300_000)"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "RANKER_HOME": str(home)}
    environment.pop("PYTHONUNBUFFERED", None)  # so Python does not notice
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=PROJECT
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (Code.unread, b"")
