"""A registry of model versions in a data folder of one's own: empty, or with one champion."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.config import RegisterParams
from ranker.lake import Lake, open_lake
from ranker.stages import register
from tests.ranker.evaluated import ACCEPT, scored, trained


@pytest.fixture
def with_registry(home: Path, empty_registry: Path) -> None:
    """An empty registry in the test's data folder."""
    shutil.copy(empty_registry, home / "mlflow.db")


@pytest.fixture(scope="session")
def champion_home(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    """A data folder in which version 1, of the training aaaa, is champion."""
    made = tmp_path_factory.mktemp("champion")
    shutil.copy(empty_registry, made / "mlflow.db")
    with open_lake(made) as opened:
        first = trained(opened, "aaaa")
        register.run(
            opened, RegisterParams(), trained=first, scores=scored(opened, "aa01", first), check=ACCEPT
        )
    return made


@pytest.fixture
def crowned(home: Path, champion_home: Path) -> Iterator[Lake]:
    """Its own copy for each test."""
    shutil.copytree(champion_home, home, dirs_exist_ok=True)
    with open_lake(home) as opened:
        yield opened
