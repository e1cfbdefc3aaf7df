"""What is broken around a command, really broken: one block, an exit code, a remedy. The table of
docs/operations.md is held to what the code says.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, PREFECT_HOME, temporary_settings

from ranker import errors
from ranker.cli import fetch
from ranker.lake import Lake
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker
from tests.ranker.lake.servers import answering, free_port, saying
from tests.ranker.lake.test_connection import write

NOWHERE = "/proc/no-home"
"""Not even root can make it."""


def said(kind: str, *command: str) -> str:
    """What a command that fails says, on one line."""
    failed = ranker(*command)
    code = getattr(errors, kind).exit_code
    assert failed.exit_code == code and isinstance(failed.exception, SystemExit), failed.exception
    text = " ".join(failed.stderr.replace("│", " ").split())
    assert f"─ {kind} ─" in text and text.count("seen:") == text.count("remedy:") == 1 and not failed.stdout
    return text


def test_a_parquet_file_that_is_cut_off_or_gone(lake: Lake) -> None:
    for key in ("k1", "k2"):
        write(lake, key)
    lake.close()
    file = next((lake.home / "lake" / "data").rglob("qrels/**/*.parquet"))
    asked = ("query", "select sum(relevance) from qrels")
    file.write_bytes(b"PAR1" * 3)
    assert file.name in "".join(said("BadLake", *asked).split())
    file.unlink()
    for command in (asked, ("lake", "compact"), ("gc", "--apply"), ("lake", "export", str(lake.home / "x"))):
        assert file.name in "".join(said("BadLake", *command).split())


def test_a_catalog_that_is_none(lake: Lake) -> None:
    lake.close()
    (lake.home / "lake" / "catalog.sqlite").write_bytes(os.urandom(50_000))
    for command in (("query", "select 1"), ("gc",), ("collect",)):
        assert "file is not a database" in said("BadLake", *command)


def test_a_registry_that_is_none(lake: Lake) -> None:
    """The doctor finds it together with a damaged lake."""
    lake.close()
    registry = lake.home / "mlflow.db"
    registry.write_bytes(os.urandom(50_000))
    for command in (("rollback",), ("gc",), ("serve", "--port", "0"), ("promote", "1")):
        assert "file is not a database" in said("BadRegistry", *command)
    (lake.home / "lake" / "catalog.sqlite").write_bytes(os.urandom(50_000))
    shown = ranker("doctor", "--preset", "tiny")
    assert shown.exit_code == 1 and shown.stdout.count("file is not a database") == 2
    registry.unlink()
    registry.mkdir()  # as little to be opened as another user's, even for root
    assert str(registry) in said("NoAccess", "rollback")


def test_a_registry_whose_server_is_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://127.0.0.1:{free_port()}"
    assert address in said("Unreachable", "rollback", "--set", f"register.tracking_uri={address}")


def test_a_prefect_server_that_is_none(home: Path) -> None:
    for sent, seen in (
        (b"\x00\xffgarbage\r\n\r\n", "garbage"),
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "<html>"),
    ):
        with saying(sent) as port, temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            assert seen in said("Unreachable", "watch")
    with answering(200, b"hello") as url, temporary_settings({PREFECT_API_URL: url}):
        for command in (("bootstrap",), ("run", "ingest", "--preset", "tiny")):
            assert "hello" in said("Unreachable", *command)


def test_a_prefect_server_that_answers_something_else_later(home: Path) -> None:
    """Something else is healthy too."""
    for status, body in ((200, b"true"), (500, b"true")):
        with (
            answering(status, body) as url,
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        ):
            assert url in said("Unreachable", "watch")


def test_no_home_to_write_in(lake: Lake) -> None:
    """A question needs none; a run's own Prefect server says that it does."""
    lake.close()
    program = [sys.executable, "-c", "from ranker.cli.main import app; app()", "query", "select 41 + 1"]
    given = {"HOME": NOWHERE, "RANKER_HOME": str(lake.home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        program, cwd=PROJECT, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "42" in done.stdout and not done.stderr
    with temporary_settings({PREFECT_HOME: NOWHERE}, restore_defaults={PREFECT_API_URL}):
        assert "PREFECT_HOME" in said("NoAccess", "run", "ingest", "--preset", "tiny")


def test_a_proxy_that_takes_connections_and_says_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PIP_SECONDS", 1)
    monkeypatch.setattr(fetch, "PIP_RETRIES", 0)
    with saying(None) as port:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        failed = ranker("fetch", "--preset", "smollm2")
    assert failed.exit_code == 2 and "check the network and pip's index" in " ".join(failed.stderr.split())


def rules() -> dict[str, set[str]]:
    """Every rule that the code can say → the kinds of error that say it; what it fills in is …"""
    found: dict[str, set[str]] = {}
    for path in [*(PROJECT / "ranker").rglob("*.py"), *(PROJECT / "flows").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and {"seen", "remedy"} <= {word.arg for word in node.keywords}:
                rule = re.sub(r"\{[^}]*\}", "…", ast.unparse(node.args[0]).strip("f'\""))
                found.setdefault(rule.replace("\\'", "'"), set()).add(ast.unparse(node.func))
    return found


def test_the_table_of_faults_is_what_the_code_says() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ")
    ][1:]
    known = rules()
    assert len(rows) >= 15
    for _, kind, rule, code, remedy in rows:
        assert rule in known and kind.strip("`") in known[rule], rule
        assert remedy and int(code) == getattr(errors, kind.strip("`"), errors.RankerError).exit_code
