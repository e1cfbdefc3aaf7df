"""What the doctor finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from ranker.cli import doctor
from tests.ranker.cli.commands import ranker
from tests.ranker.lake.servers import answering


def test_doctor_finds_a_working_machine(home: Path) -> None:
    shown = ranker("doctor", "--preset", "tiny")
    assert shown.exit_code == 0, shown.stdout
    for line in ("Python", "Packages", "Lake", "Data synthetic", "Disk", "GPU", "Prefect"):
        assert line in shown.stdout


def test_doctor_says_what_is_missing_and_how_to_mend_it(home: Path) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        shown = ranker("doctor", "--preset", "smollm2")
    assert shown.exit_code == 1
    for remedy in ("ranker fetch", "prefect server start", "ingest.locations.rec-movie"):
        assert remedy in shown.stdout


def test_doctor_says_what_goes_past_a_proxy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with answering(200) as url, temporary_settings({PREFECT_API_URL: url}):
        shown = ranker("doctor", "--preset", "tiny")
    lines = " ".join(shown.stdout.split())
    assert "Proxy HTTP_PROXY; past it go 127.0.0.1,localhost,::1" in lines
    assert f"missing Prefect {url}: not what a Prefect server says" in lines


def test_doctor_says_that_every_command_compiles_anew(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python is told to keep no bytecode, unless the packages were compiled as they were installed."""
    compiled = tmp_path / "__init__.pyc"
    monkeypatch.setattr(doctor, "cache_from_source", lambda path: str(compiled))
    for forbidden, there in ((True, False), (True, True), (False, False)):
        monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
        compiled.touch() if there else compiled.unlink(missing_ok=True)
        shown = ranker("doctor", "--preset", "tiny").stdout
        assert ("compileall" in shown) == (forbidden and not there)
