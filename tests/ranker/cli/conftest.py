"""A data folder with an evaluation in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ranker.lake import open_lake
from tests.ranker.evaluated import scored, trained


@pytest.fixture(scope="session")
def evaluated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an evaluation in its lake."""
    made = tmp_path_factory.mktemp("evaluated")
    with open_lake(made) as lake:
        scored(lake, "aa01", trained(lake, "aaaa"))
    return made


@pytest.fixture
def written(home: Path, evaluated_home: Path) -> str:
    """That evaluation in the lake of $RANKER_HOME."""
    shutil.copytree(evaluated_home, home, dirs_exist_ok=True)
    return "aa01"
