"""Shared fixtures: a data folder of its own for every test, and an open lake in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.lake import Lake, open_lake


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, also named by $RANKER_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("RANKER_HOME", str(folder))
    return folder


@pytest.fixture
def lake(home: Path) -> Iterator[Lake]:
    """A migrated lake under `home`."""
    with open_lake(home) as opened:
        yield opened
