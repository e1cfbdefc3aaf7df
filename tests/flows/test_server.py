"""The Prefect server that is set, before a flow needs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import require_server
from ranker.errors import Unreachable
from tests.ranker.cli.commands import ranker
from tests.ranker.lake.servers import answering, free_port


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
    assert failed.exit_code == 2 and failed.stdout == ""
    assert "must answer" in failed.stderr and "prefect server start" in failed.stderr
    assert len(failed.stderr.splitlines()) < 12 and "Traceback" not in failed.stderr
