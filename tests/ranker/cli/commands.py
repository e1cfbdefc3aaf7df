"""Commands as tests type them."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from ranker.cli.main import app


def ranker(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "160"})
