"""A server of a tiny model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranker.serving.settings import Bounds, Settings
from tests.ranker.engines.models import tiny
from tests.ranker.material import tiny_lm
from tests.ranker.serving.running import CALIBRATION, HOW, Running, in_thread


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


@pytest.fixture(scope="module")
def likely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    """A folder of a likelihood policy, calibrated for the task synthetic alone, and a server of it that
    logs.
    """
    home = tmp_path_factory.mktemp("likely")
    fitted = {"synthetic": {"temperature": 0.5, "calibration": CALIBRATION, "queries": 9}}
    folder = tiny_lm(home / "models" / "k" / "rl", likelihood=fitted)
    settings = Settings(str(folder), HOW, task="synthetic", bounds=Bounds(8, 2_000, 20_000), log=True)
    with in_thread(home, settings) as running:
        yield folder, running
