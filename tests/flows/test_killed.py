"""SIGKILL to the whole flow in every stage, one after another, in one data folder: the end is that of an undisturbed run. SIGTERM: nothing lives on."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL

from flows.retrain import Outcome
from ranker.config import STAGES, RetrainParams, parse_params
from tests.flows.test_retrain import counts

LIMIT_SECONDS = 240


def start(home: Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from ranker.cli import app; app()", "retrain", "--preset", "tiny", "--home", str(home)]
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PYTHONUNBUFFERED": "1"} | variables
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment)


def wait_for(text: str, log: Path, flow: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while text not in log.read_text(errors="replace"):
        assert flow.poll() is None, f"the run ended before {text!r}:\n{log.read_text(errors='replace')[-3000:]}"
        assert time.monotonic() < deadline, f"waited in vain for {text!r}"
        time.sleep(0.02)


def test_killed_in_every_stage_it_ends_as_if_undisturbed(outcome: Outcome, params: RetrainParams, tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(7)
    for number, stage in enumerate(STAGES, start=1):
        log = tmp_path / f"{stage}.log"
        flow = start(home, log)
        try:
            wait_for(f"stage {number} of {len(STAGES)}: {stage}", log, flow)
            time.sleep(chance.uniform(0, 1.5))
        finally:
            flow.kill()
            flow.wait()
    last = start(home, tmp_path / "last.log")
    assert last.wait(LIMIT_SECONDS) == 0, (tmp_path / "last.log").read_text(errors="replace")[-3000:]

    disturbed = parse_params({"preset": "tiny", "home": str(home)})
    assert counts(disturbed) == counts(params)
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    assert len(client.search_model_versions(f"name = '{disturbed.register_.name}'")) == 1


def test_ended_by_sigterm_it_takes_its_server_and_its_trainer_along(tmp_path: Path) -> None:
    log = tmp_path / "ended.log"
    own = {"PREFECT_API_URL": "", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true", "PREFECT_HOME": str(tmp_path / "prefect")}
    flow = start(tmp_path / "home", log, **own)
    started: list[psutil.Process] = []
    try:
        wait_for("SFT step", log, flow)
        found = re.search(r"temporary server on http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        assert found, "it must have a server of its own"
        port = int(found[1])
        assert _listens(port)
        trainer = json.loads(next((tmp_path / "home" / "jobs").glob("*/heartbeat.json")).read_text())["pid"]
        started = psutil.Process(flow.pid).children(recursive=True)
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(LIMIT_SECONDS) == 128 + signal.SIGTERM, log.read_text(errors="replace")[-3000:]
        deadline = time.monotonic() + LIMIT_SECONDS
        while _listens(port):
            assert time.monotonic() < deadline, "the server outlived the run"
            time.sleep(0.1)
        assert not psutil.pid_exists(trainer), "so would the trainer"
    finally:
        flow.kill()
        flow.wait()
        for process in started:
            if process.is_running():
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
