"""The images' health check, against servers that answer, refuse, or are not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deploy.healthcheck import healthy, main, waited
from ranker.refs import PROJECT
from tests.ranker.lake.servers import answering, free_port


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False), (404, False)])
def test_it_is_well_that_answers(status: int, well: bool) -> None:
    with answering(status) as url:
        assert healthy(url) is well


def test_what_is_not_there_is_not_well() -> None:
    assert not healthy(f"http://127.0.0.1:{free_port()}/health")


def test_the_exit_code_says_it_and_no_proxy_is_asked() -> None:
    command = [sys.executable, "-I", str(PROJECT / "deploy" / "healthcheck.py")]
    with answering(200) as url:
        for address, code in ((url, 0), (f"http://127.0.0.1:{free_port()}", 1)):
            own = {
                "RANKER_HEALTH": address,
                "HTTP_PROXY": "http://127.0.0.1:9",
                "http_proxy": "http://127.0.0.1:9",
            }
            assert subprocess.run(command, env=os.environ | own, check=False).returncode == code


def test_it_waits_for_what_is_not_there_yet() -> None:
    assert not waited(0.6, f"http://127.0.0.1:{free_port()}")
    with answering(200) as url:
        assert main(["--wait", "30", url]) == 0
    assert main(["--wait", "0", f"http://127.0.0.1:{free_port()}"]) == 1 and main(["other"]) == 2
