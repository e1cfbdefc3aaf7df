"""A server that has what the deployments need: made from nothing, mended from half, left alone when whole;
and runs that die on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import bootstrap as made
from flows.artifacts import publish_refusal
from flows.bootstrap import TAG, Bootstrap, bootstrap, examine, leases_last, vacuumed
from flows.server import connected
from flows.watch import WatchParams, watch
from ranker.errors import BadConfig, BatchRejected, Unreachable
from ranker.refs import PROJECT
from tests.flows.servers import listening
from tests.ranker.cli.commands import document, ranker
from tests.ranker.lake.servers import until

PARTS = {
    ("work pool", "local-process"),
    ("queue", "manual"),
    ("queue", "nightly"),
    ("queue", "maintenance"),
    ("work pool", "gpu"),
    ("queue", "training"),
    ("deployment", "train/gpu"),
    ("deployment", "retrain/manual"),
    ("deployment", "retrain/nightly"),
    ("deployment", "evaluate/champion"),
    ("deployment", "maintain/weekly"),
    ("deployment", "backfill/manual"),
    ("automation", "r1-ranker: no sign of life"),
    ("automation", "r1-ranker: pending for too long"),
}


@pytest.fixture(scope="module")
def client(empty: SyncPrefectClient) -> SyncPrefectClient:
    """The server after `ranker bootstrap`; what it lacked before is seen on the way."""
    assert {(part.kind, part.name) for part in examine(empty, Bootstrap()) if part.wrong} == PARTS
    assert {(part.kind, part.name) for part in bootstrap(empty, Bootstrap())} == PARTS
    return empty


@pytest.fixture
def whole(client: SyncPrefectClient) -> Iterator[SyncPrefectClient]:
    """As it should be before the test, and again after it."""
    yield client
    bootstrap(client, Bootstrap())


def test_a_second_time_there_is_nothing_to_do(whole: SyncPrefectClient) -> None:
    assert bootstrap(whole, Bootstrap()) == []
    assert vacuumed(whole) == {"events", "flow_runs"} and leases_last(whole)


def test_the_server_plans_the_nights(whole: SyncPrefectClient) -> None:
    """With SQLAlchemy 2.1 Prefect's scheduler fails at every run that it plans, which its log alone says."""
    nightly = whole.read_deployment_by_name("retrain/nightly")

    def planned() -> list[FlowRun]:
        runs = whole.read_flow_runs(limit=200)
        return [
            run for run in runs if run.deployment_id == nightly.id and run.state_type is StateType.SCHEDULED
        ]

    until(lambda: len(planned()) >= 2)
    assert all(run.expected_start_time and run.expected_start_time.hour == 2 for run in planned())
    assert {run.work_queue_name for run in planned()} == {"nightly"}


def test_what_is_missing_or_differs_is_mended(whole: SyncPrefectClient) -> None:
    manual = whole.read_work_queue_by_name("manual", "local-process")
    whole.update_work_queue(manual.id, priority=9)
    whole.delete_work_queue_by_id(whole.read_work_queue_by_name("maintenance", "local-process").id)
    (silent,) = whole.read_automations_by_name("r1-ranker: no sign of life")
    whole.pause_automation(silent.id)
    (pending,) = whole.read_automations_by_name("r1-ranker: pending for too long")
    whole.delete_automation(pending.id)
    nightly = whole.read_deployment_by_name("retrain/nightly")
    whole.delete_deployment_schedule(nightly.id, nightly.schedules[0].id)
    wrong = {part.name: part.wrong for part in examine(whole, Bootstrap()) if part.wrong}
    assert wrong.pop("manual") == "priority 9, not 1"
    assert wrong.pop("retrain/nightly").startswith("schedules []")
    for lost in ("maintain/weekly", "evaluate/champion", "backfill/manual"):
        assert wrong.pop(lost).startswith("pool None")  # its queue has gone
    assert wrong == {
        "maintenance": "missing",
        "r1-ranker: no sign of life": "differs",
        "r1-ranker: pending for too long": "missing",
    }
    bootstrap(whole, Bootstrap())
    assert not [part for part in examine(whole, Bootstrap()) if part.wrong]
    (silent,) = whole.read_automations_by_name("r1-ranker: no sign of life")
    whole.create_automation(AutomationCore.model_validate(silent.model_dump()))
    assert [part.wrong for part in examine(whole, Bootstrap()) if part.wrong] == ["2 of them"]
    bootstrap(whole, Bootstrap())
    assert len(whole.read_automations_by_name(silent.name)) == 1


def test_a_pool_of_another_type_is_refused(whole: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole.create_work_pool(WorkPoolCreate(name="of-docker", type="docker"))
    monkeypatch.setattr(made, "POOLS", {"of-docker": {}})
    with pytest.raises(BadConfig, match="docker"):
        examine(whole, Bootstrap())


def test_a_pool_of_kubernetes_jobs_takes_the_same_deployment(
    whole: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made from the template of deploy/kubernetes, which the server checks, as it does what is deployed."""
    path = PROJECT / "deploy" / "kubernetes" / "overlays" / "gpu" / "job-template.json"
    template = json.loads(path.read_text(encoding="utf-8"))
    whole.delete_work_pool("gpu")
    make = WorkPoolCreate(name="gpu", type="kubernetes", base_job_template=template)
    whole.create_work_pool(make)
    try:
        assert {(part.kind, part.name) for part in bootstrap(whole, Bootstrap())} == {
            ("queue", "training"),
            ("deployment", "train/gpu"),
        }
        assert whole.read_work_pool("gpu").type == "kubernetes" and bootstrap(whole, Bootstrap()) == []
    finally:
        whole.delete_work_pool("gpu")


def test_a_server_must_be_set() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with pytest.raises(Unreachable, match="no PREFECT_API_URL"), connected():
            pass
        refused = [ranker(name) for name in ("bootstrap", "watch")]
    assert all(one.exit_code == 75 and "prefect server start" in one.stderr for one in refused)


def test_the_commands(whole: SyncPrefectClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pending,) = whole.read_automations_by_name("r1-ranker: pending for too long")
    whole.delete_automation(pending.id)
    (missing,) = document("bootstrap", "--dry-run", code=1)
    assert missing["name"] == pending.name and missing["now"] == ""
    assert isinstance(document("watch", "--dry-run", "--periods", "1000"), list)
    said = ranker("bootstrap", "--dry-run")
    assert said.exit_code == 1 and "pending for too long" in said.stdout and "made" not in said.stdout
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    advised = " ".join(ranker("doctor", "--preset", "tiny").stdout.split())
    assert "pending for too long: missing → run `ranker bootstrap`" in advised
    assert "events and flow_runs taken away" in advised and "restart of the server keeps them" in advised
    assert "made" in ranker("bootstrap").stdout
    assert ranker("bootstrap").stdout.strip() == "everything is there"


SLEEPER = """
import sys, time
from prefect import flow, tags

@flow
def sleeper():
    time.sleep(600)

with tags(sys.argv[2]):
    sleeper.with_options(flow_run_name=sys.argv[1])()
"""


@contextmanager
def sleeping(client: SyncPrefectClient) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Two running flows, each a process: one of ours, and one of somebody else's on the same server."""
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    at_work = {
        name: subprocess.Popen([sys.executable, "-c", SLEEPER, name, tag], env=environment)
        for name, tag in (("ours", TAG), ("theirs", "another"))
    }
    try:
        until(lambda: all(_state(client, name) is StateType.RUNNING for name in at_work))
        yield at_work
    finally:
        for process in at_work.values():
            process.kill()
            process.wait()


def _state(client: SyncPrefectClient, name: str) -> StateType | None:
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return found[0].state_type if found else None


def test_a_run_that_dies_is_marked_and_somebody_is_told(whole: SyncPrefectClient) -> None:
    """Ten seconds are the least that Prefect waits for an event that does not come."""
    with listening() as (address, posted):
        bootstrap(whole, Bootstrap(silent_seconds=10, webhook=address))
        assert not bootstrap(whole, Bootstrap(silent_seconds=10, webhook=address))
        with sleeping(whole) as at_work:
            for process in at_work.values():
                process.send_signal(signal.SIGKILL)
            until(lambda: _state(whole, "ours") is StateType.CRASHED)
        until(lambda: bool(posted))
        assert _state(whole, "theirs") is StateType.RUNNING
    assert [one["text"] for one in posted] == ["run ours: Crashed. no sign of life for 10 s"]


def test_a_webhook_that_stays_is_kept(whole: SyncPrefectClient) -> None:
    bootstrap(whole, Bootstrap(webhook="http://127.0.0.1:9/one"))
    assert [part.wrong for part in bootstrap(whole, Bootstrap(webhook="http://127.0.0.1:9/two"))] == [
        "another address"
    ]
    assert not bootstrap(whole, Bootstrap())
    names = [one.name for one in whole.read_automations()]
    assert sorted(name for name in names if "tell" in name) == [
        "r1-ranker: tell of failures",
        "r1-ranker: tell of findings",
    ]


def test_findings_are_told(whole: SyncPrefectClient) -> None:
    """What `ranker watch` and a contract find become events, and those are posted."""
    refused = BatchRejected("no query is judged twice", seen="3 are", remedy="mend the source", verdicts=())
    with listening() as (address, posted):
        bootstrap(whole, Bootstrap(webhook=address))
        watch(whole, WatchParams(periods=1e-9))
        publish_refusal("ingest", refused)
        until(lambda: len(posted) >= 4)
    texts = sorted(one["text"] for one in posted)
    assert texts[0] == "ingest: refused by its contract: no query is judged twice; 3 are"
    assert [text.split(":")[0] for text in texts[1:]] == [
        "schedule champion",
        "schedule nightly",
        "schedule weekly",
    ]
