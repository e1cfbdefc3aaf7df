"""A server of a tiny model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.serving.schema import Bounds
from ranker.serving.server import Settings
from tests.ranker.engines.models import tiny
from tests.ranker.serving.running import HOW, Running, in_thread


@pytest.fixture(scope="module")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one model, for all tests of a file."""
    folder = tmp_path_factory.mktemp("served")
    tiny(folder / "models" / "k" / "rl", context=256)
    return folder


@pytest.fixture(scope="module")
def settings(model_home: Path) -> Settings:
    return Settings(
        str(model_home / "models" / "k" / "rl"), HOW, task="synthetic", bounds=Bounds(8, 2_000, 20_000)
    )


@pytest.fixture(scope="module")
def server(model_home: Path, settings: Settings) -> Iterator[Running]:
    with in_thread(model_home, settings) as running:
        yield running
