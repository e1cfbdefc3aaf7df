"""What `ranker watch` finds on a real server, and what it does about it; runs and workers die for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed, Pending, Running

from flows.bootstrap import TAG, Bootstrap, bootstrap
from flows.watch import Found, WatchParams, sign_of_life, watch
from ranker.lake import open_lake
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker
from tests.ranker.evaluated import trained
from tests.ranker.lake.servers import until

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
    until(lambda: len(planned(empty)) > 3)
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
    assert {(one.kind, one.name) for one in late} == {("schedule", "nightly"), ("schedule", "weekly")}
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


def test_a_worker_that_dies_with_its_run(client: SyncPrefectClient, tmp_path: Path) -> None:
    """Worker and engine killed together leave the run Running for ever: nobody is there to say otherwise."""
    manual = client.read_deployment_by_name("retrain/manual")
    run = client.create_flow_run_from_deployment(
        manual.id, parameters={"params": {"preset": "tiny", "home": str(tmp_path / "home")}}
    )
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local-process"]
    worker = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        until(lambda: state(client, run) is StateType.RUNNING)
        at_work = psutil.Process(worker.pid).children(recursive=True)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    for process in at_work:
        if process.is_running():
            process.kill()
    psutil.wait_procs(at_work, timeout=30)
    assert state(client, run) is StateType.RUNNING
    said = ranker("watch", "--one-machine", "--format", "json", "--periods", "1000")
    assert said.exit_code == 1
    assert [(one["name"], one["done"]) for one in json.loads(said.stdout)] == [
        (run.name, "marked as crashed")
    ]
    assert state(client, run) is StateType.CRASHED
    assert ranker("watch", "--periods", "1000").stdout.strip() == "nothing found"
