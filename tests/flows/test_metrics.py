"""The file of figures that `ranker watch --metrics` writes, from a real server and a real lake."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed, Failed

from flows import metrics
from flows.bootstrap import TAG, Bootstrap, bootstrap
from flows.watch import KINDS, Found, WatchParams
from ranker.lake import open_lake
from ranker.train import curves
from tests.ranker.cli.commands import ranker
from tests.ranker.evaluated import trained
from tests.ranker.reports.test_gauges import read
from tests.ranker.serving.running import promote

KEY = "0" * 16


@flow
def counted() -> None:
    """What the server knows of it is all that these tests need."""


@pytest.fixture(scope="module")
def client(empty: SyncPrefectClient) -> SyncPrefectClient:
    bootstrap(empty, Bootstrap())
    return empty


def written(client: SyncPrefectClient, home: Path, *found: Found) -> dict[tuple[str, ...], float]:
    path = home / "metrics" / "ranker.prom"
    metrics.export(client, WatchParams(home=str(home)), found, path)
    return read(path)


def test_what_the_server_and_the_watch_know(client: SyncPrefectClient, tmp_path: Path) -> None:
    before = written(client, tmp_path, Found("slot", "weekly", "…", "freed"))
    assert {before["ranker_watch_findings", kind] for kind in KINDS} == {0, 1}
    assert before["ranker_watch_findings", "slot"] == 1
    assert abs(time.time() - before["ranker_watch_timestamp_seconds",]) < 60
    nightly = client.read_deployment_by_name("retrain/nightly")
    done = client.create_flow_run_from_deployment(nightly.id)
    client.set_flow_run_state(done.id, Completed(), force=True)
    client.create_flow_run(counted, tags=[TAG], state=Failed())
    client.create_flow_run(counted, state=Failed())  # somebody else's
    after = written(client, tmp_path)
    assert after["ranker_flow_runs", "failed"] == before["ranker_flow_runs", "failed"] + 1
    assert after["ranker_flow_runs", "completed"] == before["ranker_flow_runs", "completed"] + 1
    at = after["ranker_deployment_last_success_timestamp_seconds", "retrain/nightly"]
    assert abs(time.time() - at) < 60
    assert not any(name == "ranker_table_rows" for name, *_ in after), "there is no lake yet"


def test_what_lake_registry_and_trainer_know(
    client: SyncPrefectClient, tmp_path: Path, empty_registry: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_registry.read_bytes())
    with open_lake(tmp_path) as lake:
        trained(lake, KEY)
    promote(tmp_path, KEY)
    job = tmp_path / "jobs" / KEY
    job.mkdir(parents=True)
    (job / "heartbeat.json").write_text(json.dumps({"at": 1000.5, "text": "", "pid": 1}))
    curves.path(job, "sft").write_text('{"step": 5, "loss": 1.0}\n{"step": 10, "loss": 0.5}\n')
    found = written(client, tmp_path)
    assert found["ranker_table_rows", "training_metrics"] == 4 and found["ranker_table_rows", "qrels"] == 0
    assert abs(time.time() - found["ranker_stage_last_success_timestamp_seconds", "train"]) < 60
    assert found["ranker_champion_info", "1"] == 1
    assert abs(time.time() - found["ranker_champion_trained_timestamp_seconds",]) < 60
    assert found["ranker_training_heartbeat_timestamp_seconds",] == 1000.5
    assert found["ranker_training_step", "sft"] == 10
    files = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert found["ranker_home_used_bytes",] == pytest.approx(files, rel=0.05)
    assert found["ranker_home_free_bytes",] > 0
    assert {name for name, *_ in found} | {metrics.SUCCESS.name} == {one.name for one in metrics.FIGURES}


def test_the_command_writes_it_beside_what_it_says(client: SyncPrefectClient, tmp_path: Path) -> None:
    path = tmp_path / "out" / "ranker.prom"
    said = ranker("watch", "--home", str(tmp_path), "--periods", "1000", "--metrics", str(path))
    assert said.exit_code in (0, 1), said.stderr
    assert ("ranker_watch_timestamp_seconds",) in read(path)
