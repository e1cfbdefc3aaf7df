"""SIGKILL to the whole flow in every stage, one after another, in one data folder: the end is that of an
undisturbed run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL

from flows.retrain import Outcome
from ranker.config import STAGES, RetrainParams, parse_params
from tests.flows.conftest import ONE_THREAD
from tests.flows.test_retrain import counts

LIMIT_SECONDS = 240


def start(home: Path, params: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        "from ranker.cli.main import app; app()",
        "retrain",
        "--preset",
        "tiny",
        "--home",
        str(home),
        "--params",
        str(params),
    ]
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )


def wait_for(text: str, log: Path, flow: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while text not in log.read_text(errors="replace"):
        assert flow.poll() is None, (
            f"the run ended before {text!r}:\n{log.read_text(errors='replace')[-3000:]}"
        )
        assert time.monotonic() < deadline, f"waited in vain for {text!r}"
        time.sleep(0.02)


def test_killed_in_every_stage_it_ends_as_if_undisturbed(
    outcome: Outcome, params: RetrainParams, tmp_path: Path
) -> None:
    home, chance = tmp_path / "home", random.Random(7)
    file = tmp_path / "params.json"
    file.write_text(json.dumps(ONE_THREAD))
    for number, stage in enumerate(STAGES, start=1):
        log = tmp_path / f"{stage}.log"
        flow = start(home, file, log)
        try:
            wait_for(f"stage {number} of {len(STAGES)}: {stage}", log, flow)
            time.sleep(chance.uniform(0, 1.5))
        finally:
            flow.kill()
            flow.wait()
    last = start(home, file, tmp_path / "last.log")
    assert last.wait(LIMIT_SECONDS) == 0, (tmp_path / "last.log").read_text(errors="replace")[-3000:]

    disturbed = parse_params({"preset": "tiny", "home": str(home), **ONE_THREAD})
    assert counts(disturbed) == counts(params)
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    assert len(client.search_model_versions(f"name = '{disturbed.register_.name}'")) == 1
