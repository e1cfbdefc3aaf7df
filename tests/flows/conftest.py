"""One Prefect server and one whole retraining on the tiny preset, shared by the tests of the flows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows.retrain import Outcome, retrain
from ranker.config import RetrainParams, parse_params
from tests.flows.servers import PrefectServer, clear, prefect_server

SHORT = {"train": {"threads": 1, "grpo": {"max_steps": 16}}, "evaluate": {"max_queries": 48}}
"""Laid over the preset `tiny`: SFT is as long as it must be to teach anything, what follows is half as long.
One thread, as two trainers of two threads each, one a worker's, would slow each other many times.
"""


@pytest.fixture(scope="package", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="package")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server with its background services, as operators have it."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture(scope="module")
def empty(operated: PrefectServer) -> Iterator[SyncPrefectClient]:
    """That server with nothing on it; it is set meanwhile."""
    EventsWorker.drain_all(timeout=10)  # who sends events stays with the server that it began with
    with temporary_settings({PREFECT_API_URL: operated.url}), get_client(sync_client=True) as client:
        yield client
        EventsWorker.drain_all(timeout=10)
        clear(client)


@pytest.fixture(scope="package")
def params(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> RetrainParams:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(empty_registry, home / "mlflow.db")
    return parse_params({"preset": "tiny", "home": str(home), **SHORT})


@pytest.fixture(scope="package")
def outcome(params: RetrainParams, server: None, made_once: Callable[[str], None]) -> Outcome:
    """The first run: everything is done for real."""
    made_once("retraining")
    return retrain(params)


@pytest.fixture
def copied(outcome: Outcome, params: RetrainParams, tmp_path: Path) -> RetrainParams:
    """The same after that retraining, in a data folder of one's own."""
    home = tmp_path / "copied"
    shutil.copytree(params.home_path, home)
    return params.model_copy(update={"home": str(home)})


@pytest.fixture
def home(params: RetrainParams, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKER_HOME", params.home)
    return params.home_path
