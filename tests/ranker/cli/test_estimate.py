"""`ranker estimate`."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from ranker.cli.main import app


def test_the_command_prints_all_of_it_and_says_by_its_exit_code_whether_it_will_run():
    shown = CliRunner().invoke(app, ["estimate", "--preset", "r1-3b-distilled-4gpu"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for said in ("3,085,938,688 parameters", "optimizer", "activations", "epochs", "will run"):
        assert said in shown.output
    refused = CliRunner().invoke(
        app, ["estimate", "--preset", "r1-3b-distilled", "--gpu", "rtx4090"], env={"COLUMNS": "200"}
    )
    assert refused.exit_code == 1 and "error" in refused.output and "→" in refused.output
    data = json.loads(
        CliRunner().invoke(app, ["estimate", "--preset", "r1-3b-distilled-4gpu", "--json"]).output
    )
    assert data["fits"] is True and data["phases"][1]["name"] == "grpo"
