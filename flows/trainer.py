"""Training on another worker: the retraining's flow asks a deployment to run the trainer, and waits for it.

Both see the data folder, perhaps under different names. What is trained is in the job's folder there, and so
is everything that comes of it; only the process is elsewhere.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.states import Cancelling
from pydantic import Field

from ranker.config import Section, TrainParams, data_home
from ranker.errors import BadConfig, TrainingFailed, Unreachable
from ranker.train import job
from ranker.train.job import Launcher, Log

POLL_SECONDS = 1.0
REPORT_SECONDS = 60.0


class TrainerParams(Section):
    """A training that a retraining has prepared."""

    key: str = Field(description="Of the train stage: the job's folder is jobs/KEY in the data folder.")
    home: str = Field(
        default="", description="Data folder as this worker sees it; empty takes $RANKER_HOME or ./data."
    )


@flow(name="train")
def train(params: TrainerParams) -> None:
    """Run the trainer of a job, here. What ends this run ends the trainer with it; the next one goes on from
    the last complete checkpoint.
    """
    folder = data_home(params.home) / "jobs" / params.key
    path = folder / "job.json"
    if not path.is_file():
        raise BadConfig(
            "a worker that trains sees the data folder of the retraining",
            seen=f"no {path}",
            remedy="mount it there, or name where it is: $RANKER_HOME in the deployment's job variables",
        )
    given = TrainParams.model_validate(json.loads(path.read_text(encoding="utf-8"))["params"])
    job.launch(folder, given, get_run_logger().info)


def deployed(name: str, home: str) -> Launcher:
    """What runs a trainer by the deployment `name`.

    Args:
        home: the data folder as that deployment's worker sees it; empty leaves it to the worker.
    """

    def launch(folder: Path, params: TrainParams, log: Log) -> None:
        parameters = {"params": {"key": folder.name, "home": home}}
        # By its key the server knows a request that it has had: one whose answer is lost is sent again.
        key = str(uuid4())
        started: Any = run_deployment(
            name, parameters=parameters, timeout=0, as_subflow=True, idempotency_key=key
        )
        run: FlowRun = started
        log(f"{name} trains: run {run.name}")
        with get_client(sync_client=True) as client:
            try:
                _await(client, run.id, name, log)
            except BaseException:
                client.set_flow_run_state(run.id, Cancelling(message="the retraining has ended"))
                raise
            _require_completed(client.read_flow_run(run.id), name)

    return launch


def _await(client: SyncPrefectClient, run: UUID, name: str, log: Log) -> None:
    """Until it has ended. How long it may take is `timeouts.train`; that it lives is the concern of its own
    worker, of the automations and of `ranker watch`.
    """
    reported = time.monotonic()
    while not (found := client.read_flow_run(run)).state or not found.state.is_final():
        time.sleep(POLL_SECONDS)
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            waits = found.state_type in (StateType.SCHEDULED, StateType.PENDING)
            log(f"{name}: {found.state_name}" + (": no worker of its pool has taken it yet" if waits else ""))


def _require_completed(run: FlowRun, name: str) -> None:
    """Raises Unreachable, which is tried again, where the worker has died; TrainingFailed where the trainer
    failed.
    """
    if run.state_type is StateType.COMPLETED:
        return
    seen = f"{name}, run {run.name}: {run.state_name}. {run.state.message if run.state else ''}"
    if run.state_type in (StateType.CRASHED, StateType.CANCELLED):
        raise Unreachable(
            "the worker that trains stays until it is done",
            seen=seen,
            remedy="start one: `prefect worker start --pool` and the pool's name; it goes on from the last"
            " complete checkpoint",
        )
    raise TrainingFailed(
        "the trainer must end well", seen=seen, remedy="mend what its log names, and run again"
    )
