"""Files that travel with the package."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from ranker.resources import NOWHERE, settle_home, shipped, sql_folder


def test_what_is_shipped_is_there() -> None:
    assert shipped("presets", "tiny.toml").is_file() and shipped("tasks", "synthetic.toml").is_file()
    assert not shipped("presets", "none.toml").exists()


def test_sql_lies_inside_the_package_or_beside_it() -> None:
    assert sql_folder() in (shipped("sql"), shipped().parent / "sql")
    assert list((sql_folder() / "migrations").glob("*.sql"))


def test_a_user_without_a_home_has_one_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number alone."""
    monkeypatch.setenv("HOME", "/root")
    settle_home()
    assert os.environ["HOME"] == "/root"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    settle_home()
    assert Path.home() == Path(NOWHERE)
