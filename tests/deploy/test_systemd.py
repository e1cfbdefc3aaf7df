"""The units of deploy/systemd, as systemd itself reads them. That a machine runs them has not been tried."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

from ranker.refs import PROJECT

FOLDER = PROJECT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
PROGRAM = re.compile(r"/opt/r1-ranker/\.venv/bin/(\w+)")
EXPOSED = 35
"""Of 100, by `systemd-analyze security`, which calls up to 30 protected and up to 50 acceptable."""
needs_systemd = pytest.mark.skipif(
    which("systemd-analyze") is None, reason="no systemd-analyze on this machine"
)


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, with programs that this machine has in the place of those of the installation."""
    for path in FOLDER.glob("ranker-*"):
        (tmp_path / path.name).write_text(PROGRAM.sub("/bin/true", path.read_text(encoding="utf-8")))
    return [str(path) for path in sorted(tmp_path.iterdir())]


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_reads_them_without_a_word(units: list[str], tmp_path: Path) -> None:
    done = analyzed("verify", "--man=no", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    Path(units[0]).write_text("[Service]\nExecStrat=/bin/true\n")
    assert "ExecStrat" in analyzed("verify", "--man=no", units[0]).stderr


@needs_systemd
def test_systemd_finds_them_protected(units: list[str]) -> None:
    for unit in (one for one in units if one.endswith(".service")):
        done = analyzed("security", "--offline=yes", f"--threshold={EXPOSED}", unit)
        assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_as_its_own_user_a_program_that_the_project_has(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "User=ranker" in text and "ProtectSystem=strict" in text and "NoNewPrivileges=yes" in text
    programs = set(PROGRAM.findall(text))
    assert programs and programs <= {"ranker", "prefect", "python"}


def test_the_watch_is_a_timer_s_and_a_finding_is_no_failure() -> None:
    service = (FOLDER / "ranker-watch.service").read_text(encoding="utf-8")
    assert "Type=oneshot" in service and "SuccessExitStatus=1" in service and "[Install]" not in service
    assert "OnUnitActiveSec=10min" in (FOLDER / "ranker-watch.timer").read_text(encoding="utf-8")


def test_secrets_are_left_to_be_filled_in() -> None:
    lines = (FOLDER / "env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert given["RANKER_TOKEN"] == given["RANKER_WEBHOOK"] == ""
