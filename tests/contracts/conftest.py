"""One lake for all tests of contracts that want batches of every stage and every reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ranker.lake import open_lake
from tests.contracts import road
from tests.contracts.defects import Road


@pytest.fixture(scope="session")
def done(
    tmp_path_factory: pytest.TempPathFactory, empty_registry: Path, made_once: Callable[[str], None]
) -> Iterator[Road]:
    """The lake after all stages. Who changes it puts it back."""
    made_once("road")
    folder = tmp_path_factory.mktemp("road")
    (folder / "sources").mkdir()
    (folder / "home").mkdir()
    shutil.copy(empty_registry, folder / "home" / "mlflow.db")
    with open_lake(folder / "home") as lake:
        with pytest.MonkeyPatch.context() as patch:  # other rooms' tests follow in this process
            made = Road(lake, road.whole(lake, folder / "sources", patch))
        for stage in made.refs:
            staged = made.staged(stage)
            made.lay_out(staged, list(staged.tables))
        with made.open:
            yield made
