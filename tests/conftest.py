"""Shared fixtures: a data folder of its own for every test, and an open lake in it. What every test process
has: one thread for numbers, DuckDB's among them. How tests are shared out over the workers of pytest-xdist.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")  # read when torch and numpy load, so before them
os.environ.pop("COLUMNS", None)  # tables are as wide as where nobody looks, whatever terminal runs pytest

from ranker.lake import Lake, open_lake  # noqa: E402

with suppress(ImportError):  # vLLM's environment has no hypothesis
    from hypothesis import settings

    settings.register_profile("shared cores", deadline=None)  # time is told by make bench, not by tests
    settings.load_profile("shared cores")

TOGETHER = ("tests/flows", "tests/ranker/train", "tests/contracts")
"""Folders whose tests share something costly (a retraining, a training, a lake after all stages): each runs
in one worker.
"""
FIRST = (*TOGETHER, "tests/test_wheel.py")
"""What takes minutes starts first, so that the end of a run has small pieces to fill both workers with."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of FIRST, then as collected."""
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in FIRST])


@pytest.hookimpl(optionalhook=True)  # vLLM's environment has no pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One folder of TOGETHER, else one file, goes to one worker as a whole.

    By ids of tests and not by xdist's own `loadgroup`, which pytest 9.2 ended without a word: xdist 3.8 marks
    groups in an attribute that ids no longer come from.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next(
                (folder for folder in TOGETHER if nodeid.startswith(f"{folder}/")), nodeid.split("::")[0]
            )

    config.option.loadscopereorder = False  # in the order given above
    return ByFolder(config, log)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """To be called by what makes something costly: fails where another worker has made it already, so that a
    run that no longer keeps tests together says so.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return lambda name: (shared / f"{name}-is-made").touch(exist_ok=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, also named by $RANKER_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("RANKER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose lake is migrated and empty: to copy it takes a tenth of what migrations take."""
    made = tmp_path_factory.mktemp("migrated")
    with open_lake(made):
        return made


@pytest.fixture
def lake(home: Path, migrated_home: Path) -> Iterator[Lake]:
    """A migrated lake under `home`."""
    shutil.copytree(migrated_home / "lake", home / "lake")
    with open_lake(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a model: its migrations take seconds, so they run in one place."""
    from ranker.config import RegisterParams
    from ranker.stages import registry

    home = tmp_path_factory.mktemp("mlflow")
    registry.client_of(home, RegisterParams()).search_registered_models()
    return home / "mlflow.db"


@pytest.fixture(scope="session")
def synthetic_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose lake holds the candidate sets of the task `synthetic`. Not to be changed."""
    from ranker.config import CandidateParams
    from ranker.stages import candidates
    from tests.ranker.material import passes, read_in

    made = tmp_path_factory.mktemp("synthetic")
    with open_lake(made) as opened:
        candidates.run(opened, CandidateParams(), source=read_in(opened, "synthetic"), check=passes)
    return made


@pytest.fixture
def synthetic_lake(home: Path, synthetic_home: Path) -> Iterator[Lake]:
    """A lake under `home` in which `synthetic` is read and drawn already: those stages are skipped."""
    shutil.copytree(synthetic_home / "lake", home / "lake")
    with open_lake(home) as opened:
        yield opened
