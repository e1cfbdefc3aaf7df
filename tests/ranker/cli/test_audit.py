"""`ranker audit`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from ranker.cli.main import app
from ranker.lake import Lake, open_lake
from ranker.reports import report
from ranker.studies import injection
from tests.ranker.cli.commands import document
from tests.ranker.engines.models import tiny
from tests.ranker.evaluated import commit
from tests.ranker.material import tiny_lm


@pytest.fixture
def drawn(home: Path, synthetic_lake: Lake) -> Path:
    """A lake with test queries of the task synthetic, and an untrained model."""
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
    bias = document("audit", "position-bias", *arguments[2:], "--set", "evaluate.bootstrap=200")
    assert bias["holds"] and len(bias["rows"]) > 8 and bias["claims"]
    refused = CliRunner().invoke(app, [*arguments, "--think"], env={"COLUMNS": "160"})
    assert refused.exit_code == 2 and "writes no reasoning" in refused.stderr


def test_a_task_without_test_queries_is_named(home: Path, lake: Lake) -> None:
    failed = CliRunner().invoke(
        app, ["audit", "position-bias", "nowhere", "--task", "synthetic"], env={"COLUMNS": "160"}
    )
    assert failed.exit_code == 2 and "synthetic" in failed.stderr


@pytest.mark.parametrize("answers", ["labels", "likelihood"])
def test_injection_says_what_each_text_does_and_the_leaderboard_has_it(
    home: Path, drawn: Path, answers: str
) -> None:
    folder = home / "models" / "k" / "rl"
    if answers == "labels":
        shutil.copytree(drawn, folder)
    else:
        tiny_lm(folder)
    rows = [
        {"task": "synthetic", "strategy": how, "metric": metric, "queries": 12, "value": 0.5}
        | {"arm": "rl", "model": "k/rl", "thinking": False, "lower": 0.4, "upper": 0.6}
        for how in ("iterative", "direct")
        for metric in ("RR", "malformed", "calls")
    ]
    evaluated = pl.DataFrame(rows, schema_overrides={"queries": pl.Int32})
    with open_lake(home) as opened:
        commit(opened, "evaluate", "e1", {"evaluations": evaluated})
    arguments = ["audit", "injection", "k/rl", "--task", "synthetic", "--queries", "12", "--no-think"]
    arguments += ["--strategy", "iterative", "--set", "evaluate.bootstrap=200"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert "instruction" in done.stdout and "control, before" in done.stdout, done.output
    (arm,) = json.loads((home / "audits" / "injection-synthetic" / "study.json").read_text())["arms"]
    rises = {row["text"]: row["rise"]["value"] for row in arm["rows"] if row["text"] in injection.ATTACKS}
    given = document("audit", "injection", *arguments[2:], code=done.exit_code)
    assert len(given["rows"]) == len(arm["rows"])
    if answers == "labels":  # whoever answers nothing valid obeys nothing either
        assert (
            done.exit_code == 0
            and {row["invalid"] for row in arm["rows"]} == {1.0}
            and set(rises.values()) == {0.0}
        )
    else:
        assert {row["invalid"] for row in arm["rows"]} == {0.0} and max(map(abs, rises.values())) > 0
    with open_lake(home, read_only=True) as opened:
        found = opened.rows(
            "select strategy, injection, injected_by from leaderboard order by strategy"
        ).rows()
        shown = report.gather(opened, "e1")
    assert found[0] == ("direct", None, None)
    assert found[1][:2] == ("iterative", max(rises.values())) and rises[found[1][2]] == found[1][1]
    assert [row.injected for row in shown.rows][1] == "not measured"
    assert shown.rows[0].injected.startswith(f"{found[1][1]:+.3f} [")
    assert "not measured" in report.html(shown) and found[1][2] in report.html(shown)
