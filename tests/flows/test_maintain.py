"""The flow that keeps a data folder small, and the deployments on a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import get_current_settings
from prefect.utilities.importtools import load_script_as_module

from flows.bootstrap import POOLS
from flows.maintain import MaintainParams, maintain
from ranker.config import parse_params
from ranker.lake import open_lake
from ranker.refs import PROJECT
from tests.ranker.evaluated import trained
from tests.ranker.reports.test_gauges import read
from tests.ranker.reports.test_population import CHAMPION, asked, drawn, words
from tests.ranker.serving.running import promote

OLD = "0" * 16


def test_it_takes_away_what_ranker_gc_would(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        trained(lake, OLD)
        lake.execute("update stage_runs set finished_at = now() - interval 100 days")
    (tmp_path / "models" / "smollm2").mkdir()
    said = maintain(MaintainParams(home=str(tmp_path)))
    assert said.startswith("0 MiB of folders are free")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["smollm2"]


def test_it_says_what_is_served_and_was_not_trained_on(tmp_path: Path, empty_registry: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_registry.read_bytes())
    with open_lake(tmp_path) as lake:
        drawn(lake, {"train": [words(1 + n % 12) for n in range(600)], "test": [words(1)] * 9})
        asked(lake, [words(40)] * 200, ["known"])
    promote(tmp_path, CHAMPION.train_key)
    maintain(MaintainParams(home=str(tmp_path)))
    figures = read(tmp_path / "metrics" / "population.prom")
    assert figures["ranker_served_requests", "a"] == 200 and figures["ranker_served_shifts", "a"] == 1
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": ["population"]}}}
        (artifact, *_) = client.request("POST", "/artifacts/filter", json=wanted).json()
    assert "lengths (PSI " in artifact["data"] and "champion 1" in artifact["data"]
    (tmp_path / "metrics" / "population.prom").unlink()
    maintain(MaintainParams(home=str(tmp_path), compared_days=0))
    assert not (tmp_path / "metrics" / "population.prom").exists()


@pytest.fixture(scope="module")
def deployed() -> dict[str, dict]:
    """Deployments by name, as the server has them after `prefect deploy --all`."""
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        environment = get_current_settings().to_environment_variables(exclude_unset=True)
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=PROJECT,
            env={"PATH": "", "HOME": str(Path.home()), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {one.name: one.model_dump() for one in client.read_deployments()}


def test_all_deployments_can_be_made_and_take_their_parameters(deployed: dict[str, dict]) -> None:
    assert set(deployed) == {"manual", "nightly", "champion", "weekly", "gpu"}
    for name in ("nightly", "champion"):
        parse_params(deployed[name]["parameters"]["params"])
    MaintainParams.model_validate(deployed["weekly"]["parameters"]["params"])
    written = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for one in written:
        path, name = one["entrypoint"].split(":")
        assert callable(getattr(load_script_as_module(str(PROJECT / path)), name))


def test_what_is_scheduled_never_runs_twice_at_once(deployed: dict[str, dict]) -> None:
    for name, cron in (("nightly", "0 2 * * *"), ("champion", "0 8 * * 0"), ("weekly", "0 5 * * 0")):
        one = deployed[name]
        (schedule,) = one["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (cron, "UTC")
        assert one["global_concurrency_limit"]["limit"] == 1
        assert one["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert not deployed["manual"]["schedules"]
