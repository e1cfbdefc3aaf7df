"""The Dockerfile, as far as it can be judged where no container runs: by hadolint, and by what it names.

What its steps install is what tests/test_wheel.py installs; docs/deploy.md has the size of a real build.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from ranker.refs import PROJECT

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
HADOLINT = which("hadolint", path=PATH)
LINES = re.sub(r"\\\n", " ", (PROJECT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
IGNORED = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def instructions(word: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{word} ")]


def copied() -> list[str]:
    """What comes from the checkout."""
    found = [shlex.split(one) for one in instructions("COPY") if "--from" not in one]
    return [source.rstrip("/") for one in found for source in one[:-1]]


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint on this machine (it is one of the extras `dev`)")
def test_the_dockerfile_is_as_hadolint_wants_it(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        done = subprocess.run(
            [str(HADOLINT), "--no-color", path], capture_output=True, text=True, check=False
        )
        return done.stdout

    worse = tmp_path / "Dockerfile"
    worse.write_text("FROM debian\nRUN cd /tmp && sudo apt-get install x\n")
    assert said(PROJECT / "Dockerfile") == "" and "DL3004" in said(worse)


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    shown = {line[1:] for line in IGNORED if line.startswith("!")}
    assert set(copied()) == shown and IGNORED[1] == "*"
    assert all((PROJECT / name).exists() for name in shown)


def test_it_runs_as_nobody_in_particular_and_says_whether_it_is_well() -> None:
    assert instructions("USER") == ["999:999"] and instructions("ENTRYPOINT") == ['["ranker"]']
    (check,) = instructions("HEALTHCHECK")
    assert check.endswith('CMD ["python3", "/opt/venv/bin/healthcheck.py"]')
    assert len(instructions("FROM")) == 2 and "COPY --from=builder /opt/venv /opt/venv" in LINES


def test_every_package_comes_from_a_lock_but_torch_s_build() -> None:
    installs = [part for one in instructions("RUN") for part in one.split("&&") if "pip install" in part]
    loose = [one for one in installs if "--require-hashes" not in one and "--no-index" not in one]
    assert len(installs) == 4 and len(loose) == 1 and '"${TORCH}"' in loose[0]
