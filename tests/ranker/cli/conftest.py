"""A data folder with an evaluation in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.lake import open_lake
from tests.ranker.evaluated import scored, trained


@pytest.fixture
def written(home: Path) -> str:
    """An evaluation in the lake of $RANKER_HOME."""
    with open_lake(home) as lake:
        return scored(lake, "aa01", trained(lake, "aaaa")).key
