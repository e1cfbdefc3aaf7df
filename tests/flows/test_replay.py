"""`ranker replay` with real models on the lake of a real retraining, judged by the contracts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.retrain import Outcome
from ranker.cli.main import app
from ranker.config import RetrainParams
from ranker.lake import open_lake
from tests.ranker.cli.commands import document


@pytest.fixture
def copy(outcome: Outcome, params: RetrainParams, tmp_path: Path) -> Path:
    """The lake and the models of a real retraining."""
    for part in ("lake", "models"):
        shutil.copytree(params.home_path / part, tmp_path / "copy" / part)
    return tmp_path / "copy"


def ranker(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, [*arguments, "--home", str(home), "--preset", "tiny"], env={"COLUMNS": "240"}
    )


def test_a_worse_model_takes_over(copy: Path, outcome: Outcome) -> None:
    model = outcome.stages["train"].key
    with open_lake(copy, read_only=True) as lake:
        parent = lake.rows(
            "select episode_id from episodes where stage = 'evaluate' and arm = 'rl' and strategy ="
            " 'iterative' and thinking order by set_id limit 1"
        ).item()
    shown = ranker(copy, "replay", parent[:12], "--from-step", "1", "--model", f"{model}/untrained")
    assert shown.exit_code == 0, shown.stderr
    assert "stored as episode" in shown.stdout and f"{model}/untrained" in shown.stdout
    with open_lake(copy, read_only=True) as lake:
        branch = lake.rows("select * from episodes where stage = 'replay'").row(0, named=True)
        models = lake.rows(
            "select model from steps s where batch_id = $key order by step", {"key": branch["batch_id"]}
        )["model"].to_list()
        judged = lake.rows("select count(*) from contract_results where stage = 'replay'").item()
    assert (
        branch["parent_episode"] == parent
        and models == [f"{model}/rl", f"{model}/untrained", f"{model}/untrained"]
        and judged > 20
    )
    more = (parent, "--from-step", "1", "--model", f"{model}/untrained")
    assert "by an earlier replay" in ranker(copy, "replay", *more).stdout
    stored = document("replay", *more, "--home", str(copy), "--preset", "tiny")
    assert stored["skipped"] and stored["episode"] == branch["episode_id"] and len(stored["steps"]) == 3


def test_the_episodes_own_model_answers_as_it_did(copy: Path) -> None:
    """Greedy decoding by the same weights: the branch is the parent again."""
    with open_lake(copy, read_only=True) as lake:
        parent = lake.rows(
            "select * from episodes where stage = 'evaluate' and arm = 'rl' and strategy = 'iterative' order"
            " by set_id limit 1"
        ).row(0, named=True)
    assert ranker(copy, "replay", parent["episode_id"]).exit_code == 0
    with open_lake(copy, read_only=True) as lake:
        branch = lake.rows("select * from episodes where stage = 'replay'").row(0, named=True)
    same = ("ranking", "pool", "calls", "invalid_calls", "reward", "rr", "model", "strategy", "thinking")
    assert {name: branch[name] for name in same} == {name: parent[name] for name in same}


def test_a_training_rollout_can_be_taken_to_its_end(copy: Path) -> None:
    with open_lake(copy, read_only=True) as lake:
        parent = lake.rows(
            "select episode_id, pool from episodes where stage = 'train' and strategy = 'iterative' and"
            " len(pool) = 4 order by episode_id limit 1"
        ).row(0)
    shown = ranker(copy, "replay", parent[0], "--from-step", "1")
    assert shown.exit_code == 0, shown.stderr
    with open_lake(copy, read_only=True) as lake:
        calls, ranking = lake.rows("select calls, ranking from episodes where stage = 'replay'").row(0)
    assert calls == 3 and sorted(ranking) == sorted(parent[1])
