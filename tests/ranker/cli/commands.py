"""Commands as tests type them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner, Result

from ranker.cli.main import app


def ranker(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "160"})


def document(*arguments: str, code: int = 0, stdin: str | bytes = "") -> Any:
    """What a command gives a program that asks with --json: one JSON document on standard output."""
    done = ranker(*arguments, "--json", stdin=stdin)
    assert done.exit_code == code, (done.output, done.exception)
    assert "\x1b" not in done.output
    return json.loads(done.stdout)


def every(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name behind `ranker`."""
    command = command or get_command(app)
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for word, one in inner.items():
        yield from every(one, f"{name} {word}".strip())
