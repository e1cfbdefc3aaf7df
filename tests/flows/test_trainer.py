"""A retraining whose trainer runs on another worker: one that dies, and another that goes on from there."""

from __future__ import annotations

import contextvars
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled

from flows.bootstrap import Bootstrap, bootstrap
from flows.retrain import Outcome, run_stage
from flows.trainer import TrainerParams, deployed, train
from flows.watch import WatchParams, watch
from ranker.config import RetrainParams, parse_params
from ranker.errors import BadConfig, StageTimedOut, Unreachable
from ranker.refs import PROJECT
from tests.flows.servers import PrefectServer, losing
from tests.ranker.lake.servers import until

TRAINED = {"preset": "tiny", "train_deployment": "train/gpu", "evaluate": {"max_queries": 8}}
SHORT = {"threads": 1, "sft": {"max_steps": 60, "save_steps": 10}, "grpo": {"max_steps": 2}}


@pytest.fixture(scope="module")
def client(empty: SyncPrefectClient) -> SyncPrefectClient:
    bootstrap(empty, Bootstrap())
    return empty


@contextmanager
def worker(folder: Path, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Of the pool `gpu`, as on another machine: the data folder has another name there."""
    there = folder / "mounted"
    if not there.exists():
        there.symlink_to(home)
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(folder),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(PROJECT),
        "RANKER_HOME": str(there),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu"]
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True)
    try:
        yield process
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The machine goes: worker, engine and trainer at once."""
    if process.poll() is None:
        others = psutil.Process(process.pid).children(recursive=True)
        for one in (*others, psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):  # a child that has ended since it was listed
                one.send_signal(signal.SIGKILL)
        process.wait()


def runs(client: SyncPrefectClient, *states: StateType) -> list[FlowRun]:
    gpu = client.read_deployment_by_name("train/gpu").id
    found = [run for run in client.read_flow_runs(limit=50) if run.deployment_id == gpu]
    return [run for run in found if not states or run.state_type in states]


@pytest.fixture(scope="module")
def distilled(params: RetrainParams, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with what a training reads: the shared retraining's, without its models. Not to be
    changed.
    """
    home = tmp_path_factory.mktemp("distilled") / "home"
    trained = shutil.ignore_patterns("jobs", "models", "mlflow.db")
    return shutil.copytree(params.home_path, home, ignore=trained)


@pytest.fixture
def home(distilled: Path, tmp_path: Path) -> Path:
    """A copy of it for each test, which a worker sees under another name beside it."""
    return Path(shutil.copytree(distilled, tmp_path / "home"))


def test_another_worker_trains_and_one_that_dies_costs_time_alone(
    client: SyncPrefectClient, home: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def disturbing() -> None:
        """One machine dies with a checkpoint written; when somebody has looked, another takes over."""
        with worker(tmp_path, home) as first:
            until(lambda: any(home.glob("jobs/*/sft/checkpoint-*/COMPLETE")))
            seen.append("checkpoint")
            _kill(first)
        found = watch(client, WatchParams(one_machine=True))
        seen.extend(one.kind for one in found if one.kind != "schedule")  # none may be planned yet
        with worker(tmp_path, home):
            until(lambda: bool(runs(client, StateType.COMPLETED)))
            seen.append("completed")

    context = contextvars.copy_context()  # settings of Prefect are one's own, and not a new thread's
    params = {**TRAINED, "home": str(home), "train": SHORT, "timeouts": {"train": 500}}
    with ThreadPoolExecutor(1) as other:
        disturbed = other.submit(context.run, disturbing)
        try:
            ref = run_stage(parse_params(params), "train")
        finally:
            disturbed.result()  # what went wrong there is why the training did not end
    assert seen == ["checkpoint", "dead run", "completed"]
    assert sorted(run.state_type.value for run in runs(client) if run.state_type) == ["COMPLETED", "CRASHED"]
    assert (home / str(ref.details["model"]) / "rl" / "ranker.json").is_file()
    assert ref.details["sft"]["resumed_from"] >= 10  # type: ignore[index]


def test_what_stops_the_retraining_stops_the_trainer(
    client: SyncPrefectClient, home: Path, tmp_path: Path
) -> None:
    params = {**TRAINED, "home": str(home), "train": SHORT | {"sft": {"max_steps": 100_000}}}
    with worker(tmp_path, home) as process:
        with pytest.raises(StageTimedOut):
            run_stage(parse_params({**params, "timeouts": {"train": 20}}), "train")
        until(lambda: not _trainers(process))
        until(lambda: not runs(client, StateType.RUNNING, StateType.PENDING, StateType.CANCELLING))
    assert runs(client, StateType.CANCELLED)


def test_a_request_whose_answer_is_lost_starts_one_trainer(
    client: SyncPrefectClient, operated: PrefectServer, tmp_path: Path
) -> None:
    """Prefect's client asks again; seen in the soak, where a server died with its answer."""
    before, ended = {run.id for run in runs(client)}, threading.Event()

    def cancelling() -> None:
        while not ended.wait(0.5):
            for run in runs(client, StateType.SCHEDULED):
                client.set_flow_run_state(run.id, Cancelled())

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as other, losing(operated.url, "/create_flow_run") as url:
        cancelled = other.submit(context.run, cancelling)
        try:
            with temporary_settings({PREFECT_API_URL: url}), pytest.raises(Unreachable, match="Cancelled"):
                deployed("train/gpu", str(tmp_path))(tmp_path / "no-job", parse_params(TRAINED).train, print)
        finally:
            ended.set()
        cancelled.result()
    assert len({run.id for run in runs(client)} - before) == 1


def _trainers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process(process.pid).children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE and "ranker.train.worker" in one.cmdline()
    ]


def test_a_worker_that_does_not_see_the_data_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="sees the data folder"):
        train(TrainerParams(key="0" * 16, home=str(tmp_path)))
