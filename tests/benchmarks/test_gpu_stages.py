"""The stages of `benchmarks/gpu.sh` in their tiny form, on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import chat, gpu, gpu_stages
from benchmarks.gpu_stages import STAGES, Setup
from ranker.refs import PROJECT
from tests.ranker.engines.models import bytewise


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path, dry=True, tokenizer=tmp_path / "none")


@pytest.fixture(autouse=True)
def _clocks_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own, which `gpu.trained` patches, and which knows more tasks."""
    monkeypatch.setenv(chat.TASKS, str(chat.FOLDER))
    monkeypatch.setattr(gpu.Clock, "at", [])
    monkeypatch.setattr(gpu.TimedGRPO, "generating", [])
    monkeypatch.setattr(gpu.TimedGRPO, "sequences", [])
    for name in ("shared", "save", "HeartbeatCallback"):
        monkeypatch.setattr(gpu.phase_run, name, getattr(gpu.phase_run, name))
    monkeypatch.setattr(gpu.phases, "RecordedGRPO", gpu.phases.RecordedGRPO)


def test_what_is_installed_is_told(setup: Setup) -> None:
    found = gpu_stages.main(setup, "install")
    assert found["torch"] == torch.__version__ and found["gpu"]
    assert (setup.home / "install.json").is_file()


def test_adapters_are_trained_and_told_in_tokens_a_second(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    found = gpu_stages.main(setup, "sft")
    assert found["sequences a step"] == 8 and found["tokens a second"] > 0 < found["seconds a step"]
    out, err = capsys.readouterr()
    assert "\nsft: " in out and "step 2: " in err, "figures come as it goes"


def test_a_local_model_is_taken_as_it_is(tmp_path: Path) -> None:
    local = bytewise(tmp_path / "local", context=2_048)
    setup = Setup(tmp_path / "home", dry=True, model=local)
    folder = setup.job("stage-x")
    linked = setup.home / "models" / "stage-x" / "untrained"
    assert (linked / "model.safetensors").resolve() == local / "model.safetensors"
    assert not (linked / "ranker.json").is_symlink() and (folder / "job.json").is_file()


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(PROJECT / "benchmarks" / "gpu.sh"), *arguments],
        env=os.environ | {"PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_goes_on_behind_a_stage_that_fails_and_says_so(tmp_path: Path) -> None:
    """Here every stage fails, as there is no such interpreter."""
    done = script("all", str(tmp_path), PYTHON="/no/such/python")
    assert done.returncode == 1 and [f"{name}: failed with 127" for name in STAGES] == [
        line for line in done.stdout.splitlines() if ": failed" in line
    ]
    assert done.stdout.splitlines()[-1].endswith(f"failed or not run: {' '.join(STAGES)}")


def test_the_script_keeps_its_time(tmp_path: Path) -> None:
    done = script("all", str(tmp_path), MINUTES="0")
    assert done.returncode == 1 and done.stdout.count("not run, the time is over") == len(STAGES)


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = script("nothing", str(tmp_path))
    assert done.returncode == 2 and "no part nothing" in done.stderr
