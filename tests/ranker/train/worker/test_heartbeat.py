"""Signs of life, and the watch over the process that wants them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ranker.train.worker.heartbeat import OWNER_POLL_SECONDS, Heartbeat, _alive

FOLLOWER = """
import time
from ranker.train.worker.heartbeat import follow_owner
follow_owner()
print('watching', flush=True)
time.sleep(60)
"""


def test_a_beat_is_whole_and_says_who_and_when(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    Heartbeat(path).beat("SFT step 3 of 9")
    beat = json.loads(path.read_text())
    assert (beat["text"], beat["pid"]) == ("SFT step 3 of 9", os.getpid())
    assert 0 <= time.time() - beat["at"] < 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["heartbeat.json"], "no half-written file"


def test_the_first_sign_comes_before_what_takes_seconds_to_import() -> None:
    asked = "import sys, ranker.train.worker.__main__; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_of_several_processes_one_speaks(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "heartbeat.json", silent=True).beat("anything")
    assert not list(tmp_path.iterdir())


def test_another_process_under_an_old_number_is_not_the_owner() -> None:
    me = psutil.Process()
    assert _alive(me.pid, me.create_time())
    assert not _alive(me.pid, me.create_time() - 1) and not _alive(2**22 + 1, 0.0)


@pytest.mark.parametrize("owned", [True, False])
def test_a_trainer_ends_when_its_owner_has_gone_and_one_without_an_owner_does_not(owned: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        created = psutil.Process(owner.pid).create_time()
        environment = os.environ | ({"RANKER_OWNER": f"{owner.pid}:{created}"} if owned else {})
        command = [sys.executable, "-c", FOLLOWER]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None and follower.stdout.readline() == "watching\n"
            owner.kill()
            try:
                if owned:
                    assert follower.wait(60) == 3
                else:
                    with pytest.raises(subprocess.TimeoutExpired):
                        follower.wait(3 * OWNER_POLL_SECONDS)
            finally:
                follower.kill()
