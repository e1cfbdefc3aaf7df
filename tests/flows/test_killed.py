"""SIGKILL to the whole flow in every stage, one after another, in one data folder: the end is that of an
undisturbed run. At length alone: tests/flows/test_watch.py has a night that dies.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.retrain import Outcome, retrain
from ranker.config import STAGES, RetrainParams, parse_params
from tests.flows.conftest import SHORT
from tests.flows.test_retrain import counts
from tests.full_length import in_bench_alone

LIMIT_SECONDS = 240
SLOW = ["flows.retrain", "flows.artifacts", "great_expectations", "contracts.gate", "mlflow"]
"""What a flow imports, which takes longer than most stages: once, and not for every process that is
killed.
"""


def processes() -> ForkServerContext:
    """Processes that begin with `SLOW` imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*SLOW, __name__])
    return context


def start(context: ForkServerContext, params: RetrainParams, log: Path) -> BaseProcess:
    flow = context.Process(target=run, args=(params, log, PREFECT_API_URL.value()))
    flow.start()
    return flow


def run(params: RetrainParams, log: Path, server: str) -> None:
    """The flow in a process of its own: ends with code 1 where it fails."""
    with log.open("wb", buffering=0) as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        with temporary_settings({PREFECT_API_URL: server}):
            retrain(params)


def wait_for(text: str, log: Path, flow: BaseProcess) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while text not in said(log):
        assert flow.exitcode is None, f"the run ended before {text!r}:\n{said(log)[-3000:]}"
        assert time.monotonic() < deadline, f"waited in vain for {text!r}"
        time.sleep(0.02)


def said(log: Path) -> str:
    return log.read_text(errors="replace") if log.is_file() else ""


@in_bench_alone
def test_killed_in_every_stage_it_ends_as_if_undisturbed(
    outcome: Outcome, params: RetrainParams, tmp_path: Path
) -> None:
    context, chance = processes(), random.Random(7)
    disturbed = parse_params({"preset": "tiny", "home": str(tmp_path / "home"), **SHORT})
    _taught(outcome, params.home_path, disturbed.home_path)
    for number, stage in enumerate(STAGES, start=1):
        log = tmp_path / f"{stage}.log"
        flow = start(context, disturbed, log)
        try:
            wait_for(f"stage {number} of {len(STAGES)}: {stage}", log, flow)
            time.sleep(chance.uniform(0, 1.5))
        finally:
            flow.kill()
            flow.join()
    last = start(context, disturbed, tmp_path / "last.log")
    last.join(LIMIT_SECONDS)
    assert last.exitcode == 0, said(tmp_path / "last.log")[-3000:]

    assert counts(disturbed) == counts(params)
    client = MlflowClient(f"sqlite:///{disturbed.home_path / 'mlflow.db'}")
    assert len(client.search_model_versions(f"name = '{disturbed.register_.name}'")) == 1


def _taught(outcome: Outcome, undisturbed: Path, home: Path) -> None:
    """The cold-started policy, so that only what follows is trained again: how SFT goes on after a kill is
    tests/ranker/train/worker/test_checkpoints.py's.
    """
    key = outcome.stages["train"].key
    for phase in ("untrained", "sft"):
        shutil.copytree(undisturbed / "models" / key / phase, home / "models" / key / phase)
    (home / "jobs" / key).mkdir(parents=True)
    shutil.copy(undisturbed / "jobs" / key / "metrics-sft.parquet", home / "jobs" / key)
