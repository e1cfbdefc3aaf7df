"""`ranker audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ranker.cli.main import app
from ranker.config import CandidateParams
from ranker.lake import Lake, open_lake
from ranker.stages import candidates
from tests.ranker.engines.models import tiny
from tests.ranker.material import passes, read_in, tiny_lm


@pytest.fixture
def drawn(home: Path, lake: Lake) -> Path:
    """A lake with test queries of the task synthetic, and an untrained model."""
    candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    return tiny(home / "policy", context=256)


def test_the_command_writes_table_and_plot_and_fails_where_order_decides(home: Path, drawn: Path) -> None:
    with open_lake(home, read_only=True) as opened:
        snapshot = opened.snapshot()
    arguments = [
        "audit",
        "position-bias",
        str(drawn),
        "--task",
        "synthetic",
        "--queries",
        "12",
        "--no-think",
        "--strategy",
        "iterative",
        "--set",
        "evaluate.bootstrap=200",
    ]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 1, (
        done.output
    )  # an untrained policy's answers are invalid, and the fallback excludes whoever is shown last
    assert "does not hold" in done.stdout and "slot 4" in done.stdout
    folder = home / "audits" / "position-bias-synthetic"
    assert (
        (folder / "table.md").is_file()
        and (folder / "plot.svg").is_file()
        and (folder / "plot.png").is_file()
    )
    (arm,) = json.loads((folder / "study.json").read_text())["arms"]
    assert (
        arm["invalid"] == 1
        and arm["spread"]["best"] == 1
        and arm["spread"]["worst"] == 4
        and arm["rows"][0]["rr"]["value"] == 1
    )
    with open_lake(home, read_only=True) as opened:
        assert opened.snapshot() == snapshot


def test_a_likelihood_policy_is_asked_without_reasoning_and_shown_to_have_none(
    home: Path, drawn: Path
) -> None:
    folder = tiny_lm(home / "likely")
    arguments = ["audit", "position-bias", str(folder), "--task", "synthetic", "--queries", "8"]
    done = CliRunner().invoke(app, [*arguments, "--set", "evaluate.bootstrap=200"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "scores each candidate by itself" in done.stdout and "does not hold" not in done.stdout
    arms = json.loads((home / "audits" / "position-bias-synthetic" / "study.json").read_text())["arms"]
    assert [arm["how"] for arm in arms] == ["iterative, no-think", "direct, no-think"]
    assert all(arm["scores_differ"] < 1e-3 and arm["spread"]["value"] == 0 for arm in arms)
    refused = CliRunner().invoke(app, [*arguments, "--think"], env={"COLUMNS": "160"})
    assert refused.exit_code == 2 and "writes no reasoning" in refused.stderr


def test_a_task_without_test_queries_is_named(home: Path, lake: Lake) -> None:
    failed = CliRunner().invoke(
        app, ["audit", "position-bias", "nowhere", "--task", "synthetic"], env={"COLUMNS": "160"}
    )
    assert failed.exit_code == 2 and "synthetic" in failed.stderr


def test_injection_says_what_each_text_does(home: Path, drawn: Path) -> None:
    arguments = ["audit", "injection", str(drawn), "--task", "synthetic", "--queries", "12", "--no-think"]
    arguments += ["--strategy", "iterative", "--set", "evaluate.bootstrap=200"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output  # whoever answers nothing valid obeys nothing either
    assert "instruction" in done.stdout and "control" in done.stdout
    (arm,) = json.loads((home / "audits" / "injection-synthetic" / "study.json").read_text())["arms"]
    assert {row["invalid"] for row in arm["rows"]} == {1.0}
    assert {row["rise"]["value"] for row in arm["rows"]} == {0.0}
