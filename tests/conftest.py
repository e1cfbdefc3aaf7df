"""Shared fixtures: a data folder of its own for every test, and an open lake in it. What every test process
has: one thread for numbers, and a way to share work with the other worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")  # read when torch and numpy load, so before them
os.environ.pop("COLUMNS", None)  # tables are as wide as where nobody looks, whatever terminal runs pytest

from ranker.lake import Lake, open_lake  # noqa: E402

FIRST = (
    "tests/flows",
    "tests/contracts",
    "tests/ranker/train",
    "tests/test_wheel.py",
)
"""What takes minutes starts first, so that the end of a run has small pieces to fill both workers with."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist's `--dist loadgroup` a file is a group, unless its tests name one of their own."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


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
