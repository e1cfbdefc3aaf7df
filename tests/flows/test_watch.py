"""What `ranker watch` finds on a real server, and what it does about it; runs and workers die for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed, Pending, Running

from flows.bootstrap import TAG, Bootstrap, bootstrap
from flows.watch import Found, WatchParams, sign_of_life, watch
from ranker.config import STAGES
from ranker.lake import open_lake
from ranker.refs import PROJECT
from tests.flows.servers import PrefectServer
from tests.full_length import in_bench_alone
from tests.ranker.cli.commands import ranker
from tests.ranker.evaluated import trained
from tests.ranker.lake.servers import WAIT_SECONDS, until

CALM = {"silent_seconds": 3600.0, "pending_seconds": 3600.0, "periods": 1000.0}
"""Limits under which nothing is dead or late."""


@flow
def watched() -> None:
    """What the server knows of it is all that these tests need."""


@task
def step() -> None:
    """The task of a parent under which a child hangs."""


@pytest.fixture(scope="module")
def client(empty: SyncPrefectClient) -> SyncPrefectClient:
    bootstrap(empty, Bootstrap())
    until(lambda: len({run.deployment_id for run in planned(empty)}) == 3)
    return empty


def planned(client: SyncPrefectClient) -> list[FlowRun]:
    return [run for run in client.read_flow_runs(limit=200) if run.state_type is StateType.SCHEDULED]


def found(client: SyncPrefectClient, dry_run: bool = False, **limits: float | str) -> list[Found]:
    return watch(client, WatchParams.model_validate({**CALM, **limits}), dry_run)


def run_in(client: SyncPrefectClient, state: object, **given: object) -> FlowRun:
    made = client.create_flow_run(watched, tags=[TAG], state=state, **given)  # type: ignore[arg-type]
    return client.read_flow_run(made.id)


def state(client: SyncPrefectClient, run: FlowRun) -> StateType | None:
    return client.read_flow_run(run.id).state_type


def ended(client: SyncPrefectClient, run: FlowRun) -> None:
    client.delete_flow_run(run.id)


def test_nothing_is_found_where_all_is_well(client: SyncPrefectClient) -> None:
    assert found(client) == []


@pytest.mark.parametrize(
    ("made", "limit"),
    [(Running(), "silent_seconds"), (Pending(), "pending_seconds")],
    ids=["running", "pending"],
)
def test_a_run_without_a_sign_of_life_has_crashed(
    client: SyncPrefectClient, made: object, limit: str
) -> None:
    run = run_in(client, made)
    assert found(client) == []
    (one,) = found(client, dry_run=True, **{limit: 1e-6})
    assert state(client, run) is not StateType.CRASHED
    assert found(client, **{limit: 1e-6})[0].name == one.name == run.name
    assert state(client, run) is StateType.CRASHED and "no sign of life" in one.seen
    assert found(client, **{limit: 1e-6}) == []


def test_a_beat_is_a_sign_of_life(client: SyncPrefectClient) -> None:
    run = run_in(client, Running())
    before = sign_of_life(client, run)
    beat = {
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid4()),
    }
    client.request("POST", "/events", json=[beat])
    until(lambda: sign_of_life(client, run) > before)
    ended(client, run)


def test_a_process_that_has_gone_is_no_run(client: SyncPrefectClient) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive, dead = run_in(client, Running()), run_in(client, Running())
    client.update_flow_run(alive.id, infrastructure_pid=str(os.getppid()))
    client.update_flow_run(dead.id, infrastructure_pid=str(gone.pid))
    assert found(client) == []  # it may be another machine's
    (one,) = found(client, one_machine=True)
    assert (one.name, one.seen) == (dead.name, f"Running, its process {gone.pid} has gone")
    assert (state(client, alive), state(client, dead)) == (StateType.RUNNING, StateType.CRASHED)
    ended(client, alive)


def test_children_go_with_their_parent(client: SyncPrefectClient) -> None:
    parent = run_in(client, Running())
    dummy = client.create_task_run(step, parent.id, dynamic_key="0")
    child = run_in(client, Running(), parent_task_run_id=dummy.id)
    assert found(client) == []
    client.set_flow_run_state(parent.id, Failed(message="it did"))
    (one,) = found(client)
    assert (one.kind, one.name) == ("orphan", child.name)
    assert state(client, child) is StateType.CANCELLING
    assert found(client) == []


def taken(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether it may run: its deployment has one slot, and cancels who comes second."""
    return client.set_flow_run_state(run.id, Pending()).status.value == "ACCEPT"


def test_a_slot_that_a_dead_run_holds_is_free_again(client: SyncPrefectClient) -> None:
    nightly = client.read_deployment_by_name("retrain/nightly")
    first, second, third = (client.create_flow_run_from_deployment(nightly.id) for _ in range(3))
    assert taken(client, first) and not taken(client, second)
    (one,) = found(client, pending_seconds=1e-6)
    assert (one.kind, one.name) == ("dead run", first.name)
    assert taken(client, third)
    ended(client, third)


def test_a_slot_that_nobody_holds_is_freed(client: SyncPrefectClient) -> None:
    weekly = client.read_deployment_by_name("maintain/weekly")
    limit = weekly.global_concurrency_limit
    assert limit is not None
    client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=1))
    run = client.create_flow_run_from_deployment(weekly.id)
    assert found(client) == [Found("slot", "weekly", "1 slots taken, 0 runs at work", "1 freed")]
    assert found(client) == []
    assert taken(client, run)
    ended(client, run)


def test_a_schedule_that_completes_nothing_is_late(client: SyncPrefectClient) -> None:
    late = found(client, periods=1e-9)
    assert {(one.kind, one.name) for one in late} == {
        ("schedule", name) for name in ("champion", "nightly", "weekly")
    }
    assert "nothing completed for" in late[0].seen
    nightly = client.read_deployment_by_name("retrain/nightly")
    run = client.create_flow_run_from_deployment(nightly.id)
    client.set_flow_run_state(run.id, Completed(), force=True)
    waited = datetime.now(UTC) - (nightly.created or datetime.now(UTC))
    since_made = waited.total_seconds() / timedelta(days=1).total_seconds()
    assert [one.name for one in found(client, periods=0.5 * since_made)] == []  # a week is seven times a day


def test_old_data_and_an_old_champion_are_said(client: SyncPrefectClient, tmp_path: Path) -> None:
    home = str(tmp_path)
    assert [one.seen for one in found(client, home=home, data_days=1)] == [f"no lake at {tmp_path / 'lake'}"]
    with open_lake(tmp_path) as lake:
        trained(lake, "0" * 16)
        assert found(client, home=home, data_days=1)[0].seen == "there is none"
        lake.execute("update stage_runs set stage = 'ingest'")
        assert found(client, home=home, data_days=1) == []
        lake.execute("update stage_runs set finished_at = now() - interval 50 hours")
    assert [one.seen for one in found(client, home=home, data_days=2)] == [
        "2.1 days old; 2.0 days are allowed"
    ]
    assert [one.kind for one in found(client, home=home, champion_days=9)] == ["champion"]


SMALL = {
    "preset": "tiny",
    "distill": {"traces": 400},
    "train": {"threads": 1, "sft": {"max_steps": 2}, "grpo": {"max_steps": 1, "prompts": 64}},
    "evaluate": {"models": ["rl"], "strategies": ["direct"], "thinking": [False], "max_queries": 8},
}
DYING = """
import os, signal
from flows import stages
from flows.retrain import retrain

@stages.ingest.on_completion
def power_cut(task, run, state):
    for process in (os.getppid(), os.getpid()):  # the worker, and this run of it
        os.kill(process, signal.SIGKILL)
"""
RENEWING = """
from prefect.concurrency import _leases
from flows.retrain import retrain

_leases._RENEWAL_FRACTION = 0.01  # the run asks for its slot again every 3 seconds, and not every 225
"""


@contextmanager
def night(client: SyncPrefectClient, folder: Path, script: str) -> Iterator[tuple[FlowRun, psutil.Popen]]:
    """A run of `retrain/nightly`, and the worker that takes it; `script` is what it finds as its flow."""
    path = folder / f"night{len(list(folder.glob('*.py')))}.py"
    path.write_text(script)
    nightly = client.read_deployment_by_name("retrain/nightly")
    client.update_deployment(nightly.id, DeploymentUpdate(entrypoint=f"{path}:retrain"))
    given = {"params": {**SMALL, "home": str(folder / "home")}}
    run = client.create_flow_run_from_deployment(nightly.id, parameters=given)
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(folder),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local-process"]
    worker = psutil.Popen(command, env=environment, cwd=folder, start_new_session=True)
    try:
        yield run, worker
    finally:
        client.update_deployment(nightly.id, DeploymentUpdate(entrypoint="flows/retrain.py:retrain"))
        for process in (*(worker.children(recursive=True) if worker.is_running() else ()), worker):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        worker.wait()


def trainers(worker: psutil.Popen) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for one in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a child that has ended since it was listed
            found += [one] if "ranker.train.worker" in one.cmdline() else []
    return found


@in_bench_alone
def test_a_night_that_dies_between_two_stages_and_one_whose_server_restarts(
    client: SyncPrefectClient, operated: PrefectServer, tmp_path: Path
) -> None:
    """Worker and run killed together, a stage done and the next not begun, leave a run that is Running for
    ever. The night after goes on from there; while it trains, its server is killed and started again.
    """
    nightly = client.read_deployment_by_name("retrain/nightly")
    with night(client, tmp_path, DYING) as (first, worker):
        worker.wait(WAIT_SECONDS)
    refused = client.create_flow_run_from_deployment(nightly.id)
    assert state(client, first) is StateType.RUNNING and not taken(client, refused)
    said = ranker("watch", "--one-machine", "--format", "json", "--periods", "1000")
    assert said.exit_code == 1
    dead = [one for one in json.loads(said.stdout) if one["what"] != "schedule"]  # perhaps not planned yet
    assert [(one["name"], one["done"]) for one in dead] == [(first.name, "marked as crashed")]
    assert state(client, first) is StateType.CRASHED
    until(lambda: ranker("watch", "--periods", "1000").stdout.strip() == "nothing found")
    with night(client, tmp_path, RENEWING) as (second, worker):
        until(lambda: bool(trainers(worker)))
        for one in trainers(worker):
            one.suspend()  # so that it still trains when the server is there again
        operated.kill()
        operated.start()
        time.sleep(5)  # by then the run has asked for its slot again
        for one in trainers(worker):
            one.resume()
        until(lambda: client.read_flow_run(second.id).state.is_final())  # type: ignore[union-attr]
        ended_as = client.read_flow_run(second.id).state
        assert ended_as is not None and ended_as.is_completed(), ended_as
    with open_lake(tmp_path / "home", read_only=True) as lake:
        done = dict(lake.rows("select stage, flow_run from stage_runs").iter_rows())
    assert done == {"ingest": str(first.id), **dict.fromkeys(STAGES[1:], str(second.id))}
    limit = client.read_deployment_by_name("retrain/nightly").global_concurrency_limit
    assert limit is not None and limit.active_slots == 0
