"""A data folder with registered versions, and a ranker of its champion."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker import Ranker
from tests.ranker.library.homes import registered_home


@pytest.fixture(scope="module")
def champion_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registered_home(tmp_path_factory.mktemp("registered"))


@pytest.fixture(scope="module")
def ranker(champion_home: Path) -> Ranker:
    return Ranker.from_registry(home=champion_home)
