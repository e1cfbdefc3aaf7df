"""The Prefect server that is set, before a flow needs it; and the temporary one, which goes with its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import require_server
from ranker.errors import Unreachable
from ranker.refs import PROJECT
from tests.ranker.cli.commands import ranker
from tests.ranker.lake.servers import answering, free_port, until


@pytest.mark.parametrize(("status", "there"), [(200, True), (401, True), (502, False)])
def test_a_server_that_is_there_is_taken(status: int, there: bool) -> None:
    with answering(status) as url, temporary_settings({PREFECT_API_URL: url}):
        if there:
            require_server()
        else:
            with pytest.raises(Unreachable, match="status 502"):
                require_server()


def test_none_set_is_none_needed() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        require_server()


@pytest.mark.parametrize("command", [("retrain",), ("run", "ingest"), ("study", "prove-synthetic")])
def test_one_that_is_not_there_is_one_block(home: Path, command: tuple[str, ...]) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        failed = ranker(*command)
    assert failed.exit_code == 75 and failed.stdout == ""
    assert "must answer" in failed.stderr and "prefect server start" in failed.stderr
    assert len(failed.stderr.splitlines()) < 12 and "Traceback" not in failed.stderr


WAIT_SECONDS = 180


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_stopped_takes_its_server_with_it(
    tmp_path: Path, sign: signal.Signals, code: int
) -> None:
    """Ctrl-C in a terminal reaches every process of the group, and the run ends as one that was stopped."""
    log = tmp_path / "log"
    command = ["from ranker.cli.main import app; app()", "retrain", "--preset", "tiny"]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with log.open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, "-c", *command],
            cwd=PROJECT,
            env=environment
            | {"RANKER_HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until(lambda: "stage 1 of 6" in log.read_text() or run.poll() is not None, WAIT_SECONDS)
    assert run.poll() is None, log.read_text()[-3000:]
    others = psutil.Process(run.pid).children(recursive=True)
    assert any("flows.temporary_server" in one.cmdline() for one in others)
    (os.killpg if sign == signal.SIGINT else os.kill)(run.pid, sign)
    assert run.wait(WAIT_SECONDS) == code
    if sign == signal.SIGINT:
        assert "the same command goes on from there" in log.read_text()
        assert "Traceback" not in log.read_text()
    until(lambda: not any(map(alive, others)), WAIT_SECONDS)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
