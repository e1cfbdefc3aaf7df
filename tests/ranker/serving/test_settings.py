"""The defaults of a server are those that its page shows."""

from __future__ import annotations

import re

from typer.main import get_command

from ranker.cli.main import app
from ranker.refs import PROJECT
from ranker.serving.settings import DEFAULTS

PAGE = (PROJECT / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_table_of_bounds_has_every_default_as_it_is() -> None:
    rows = re.findall(r"^\| ((?:`--[a-z-]+`(?:, )?)+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    shown = {
        option: value
        for options, values in rows
        for option, value in zip(re.findall(r"--[a-z-]+", options), values.split(", "), strict=True)
    }
    defaults = {
        parameter.opts[0]: parameter.default
        for parameter in get_command(app).commands["serve"].params  # type: ignore[attr-defined]
    }
    assert len(shown) >= 12
    for option, value in shown.items():
        assert value == "none" or float(value.replace(",", "")) == defaults[option], option


def test_what_the_server_does_by_itself_is_safe() -> None:
    """It is heard by this machine alone, keeps nothing that clients send, and has no second model."""
    assert (DEFAULTS.host, DEFAULTS.log, DEFAULTS.shadow, DEFAULTS.origins) == ("127.0.0.1", False, "", ())
