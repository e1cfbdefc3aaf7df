"""The line on a terminal, as a terminal gets it; plain lines everywhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from ranker.refs import PROJECT

WORK = """
import logging, sys, time
from rich.console import Console
from ranker import progress
from ranker.cli import live
from ranker.cli.output import console

class Own(logging.StreamHandler):  # as Prefect's, with a console of its own
    def __init__(self):
        super().__init__(sys.stderr)
        self.console = Console(file=sys.stderr, highlight=False, color_system=None)
    def emit(self, record):
        self.console.print(record.getMessage(), soft_wrap=True)

logging.basicConfig(level=logging.INFO, handlers=[Own()])
progress.FIRST, progress.EVERY = 0.4, 0.4
live.begin(console(stderr=True))
work = progress.Progress("ranking", 40, logging.info)
with progress.Progress("study, runs", 2, logging.info), work:
    for number in work.over(range(40)):
        time.sleep(0.05)
        if number == 20:
            logging.info("something else happened")
            console(stderr=True).print("and was printed")
live.end()
print("the result")
"""


def on_a_terminal(program: str, environment: Mapping[str, str]) -> str:
    """What a program writes where all of its output is a terminal of 80 columns."""
    own, its = pty.openpty()
    given = os.environ | {"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(PROJECT)} | environment
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, env=given, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    seen = b""
    while True:
        try:
            part = os.read(own, 65_536)
        except OSError:  # so a terminal says that the last program is gone
            break
        if not part:
            break
        seen += part
    os.close(own)
    assert process.wait() == 0, seen
    return seen.decode()


def test_a_terminal_has_one_line_that_renews_itself_below_the_log() -> None:
    seen = on_a_terminal(WORK, {"NO_COLOR": ""})
    renewed = re.findall(r"study, runs 0/2 › ranking: (\d+) of 40, [\d.]+/s, about \d+ s left", seen)
    assert len({*renewed}) >= 4 and [*map(int, renewed)] == sorted(map(int, renewed))
    assert "\x1b[2K" in seen and "\x1b[?25h" in seen, "the line is taken away, the cursor is back"
    lasting = [line.split("\r")[-1] for line in seen.replace("\r\n", "\n").split("\n")]
    lasting = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in lasting]
    assert {"something else happened", "and was printed", "the result"} <= set(lasting)
    assert not [line for line in lasting if line.startswith("ranking: ")], "no line of the log says it again"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_where_it_may_not_go_back_there_are_plain_lines(environment: dict[str, str]) -> None:
    seen = on_a_terminal(WORK, environment)
    assert "\x1b" not in seen
    plain = re.findall(r"(?m)^ranking: \d+ of 40, [\d.]+/s, about \d+ s left\r$", seen)
    assert 2 <= len(plain) <= 6


def test_a_pipe_gets_plain_lines_on_standard_error_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert done.stdout == "the result\n"
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert 2 <= sum(line.startswith("ranking: ") for line in done.stderr.splitlines()) <= 6
