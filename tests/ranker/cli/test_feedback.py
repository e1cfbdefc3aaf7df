"""`ranker audit traffic`, `export-clicks` and `forget` as they are typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ranker.lake import open_lake
from tests.ranker.cli.commands import document, ranker
from tests.ranker.material import tiny_lm
from tests.ranker.traffic import days


@pytest.fixture(scope="module")
def served_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two days of requests and clicks."""
    made = tmp_path_factory.mktemp("served")
    with open_lake(made) as lake:
        days(lake, 2)
    return made


@pytest.fixture
def served(home: Path, served_home: Path) -> Path:
    shutil.copytree(served_home, home, dirs_exist_ok=True)
    return home


def test_an_untrained_policy_is_estimated_on_traffic_and_what_it_says_is_kept(served: Path) -> None:
    folder = tiny_lm(served / "models" / "k" / "rl")
    asked = ("audit", "traffic", str(folder), "--task", "synthetic", "--requests", "200")
    done = ranker(*asked, "--strategy", "direct", "--set", "evaluate.bootstrap=100")
    assert done.exit_code in (0, 1) and "SNIPS" in done.stdout and "DR" in done.stdout, done.output
    assert "first 4 places, of 200 logged requests" in done.stdout
    with open_lake(served, read_only=True) as lake:
        rows = lake.rows("select model, strategy, requests, gain_upper from traffic_estimates").to_dicts()
    assert len(rows) == 2 and {row["strategy"] for row in rows} == {"direct"} and rows[0]["requests"] == 200
    worse = any(row["gain_upper"] < 0 for row in rows)
    assert done.exit_code == int(worse)
    found = document(
        "audit", "traffic", str(folder), "--task", "synthetic", "--requests", "200", code=int(worse)
    )
    assert [one["estimator"] for one in found] == ["SNIPS", "DR"]


def test_clicks_are_written_as_labels(served: Path, tmp_path: Path) -> None:
    done = ranker("export-clicks", str(tmp_path / "labels"), "--task", "synthetic", "--relevant", "0.2")
    assert done.exit_code == 0 and "queries" in done.stdout, done.output
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == [
        "corpus.jsonl",
        "qrels",
        "queries.jsonl",
    ]
    found = document("export-clicks", str(tmp_path / "again"), "--task", "synthetic", "--relevant", "0.2")
    assert found["queries"] > 0 and f"{found['queries']:,} queries" in done.stdout
    again = ranker("export-clicks", str(tmp_path / "labels"), "--task", "synthetic")
    assert again.exit_code == 2 and "empty folder" in again.stderr


def test_a_user_is_forgotten_only_where_that_is_asked(served: Path) -> None:
    with open_lake(served, read_only=True) as lake:
        user = lake.rows("select max(user_id) from feedback").item()
    said = ranker("forget", user)
    assert said.exit_code == 0 and "would be forgotten" in said.stdout and "feedback" in said.stdout
    assert document("forget", user)["rows"]["feedback"] > 0
    done = ranker("forget", user, "--apply")
    assert done.exit_code == 0 and "are forgotten" in done.stdout
    nothing = ranker("forget", user)
    assert nothing.exit_code == 0 and "0 rows and lines" in nothing.stdout
