"""What the pages show of an evaluation and of a training's log; the pages: tests/flows/test_ui.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl
import pytest

from ranker.errors import BadQuery
from ranker.lake import Lake, open_lake
from ranker.ui import frames
from ranker.ui.frames import Arm
from tests.ranker.evaluated import commit, scored, trained


@pytest.fixture
def evaluation(lake: Lake) -> frames.Evaluation:
    """Two ways of ranking 100 queries, of which the first half differ."""
    scored(lake, "aa01", trained(lake, "aaaa"), against_champion=(0.1, 0.05, 0.15))
    return frames.evaluations(lake)[0]


def test_an_evaluation_knows_the_sets_that_it_ranked_and_its_ways(
    lake: Lake, evaluation: frames.Evaluation
) -> None:
    assert (evaluation.batch_id, evaluation.candidates) == ("aa01", "sets0")
    assert "synthetic" in evaluation.title
    assert {str(way) for way in frames.arms(lake, evaluation)["synthetic"]} == {
        "champion, iterative, thinking",
        "rl, iterative, thinking",
    }


def test_episodes_are_chosen_by_outcome_and_listed_worst_first(
    lake: Lake, evaluation: frames.Evaluation
) -> None:
    way = Arm("champion", "iterative", True)
    every = frames.episodes(lake, evaluation, "synthetic", way)
    assert every.height == 100 and every["rr"].is_sorted()
    first = frames.episodes(lake, evaluation, "synthetic", way, "gold first")
    others = frames.episodes(lake, evaluation, "synthetic", way, "gold not first")
    assert first.height + others.height == 100
    assert frames.episodes(lake, evaluation, "synthetic", way, text="no such text").is_empty()


def test_two_ways_are_compared_by_query_the_largest_difference_first(
    lake: Lake, evaluation: frames.Evaluation
) -> None:
    one, other = Arm("rl", "iterative", True), Arm("champion", "iterative", True)
    found = frames.differences(lake, evaluation, "synthetic", one, other)
    assert found.height == 100
    assert found["difference"].abs().is_sorted(descending=True)
    back = frames.differences(lake, evaluation, "synthetic", other, one)
    assert sorted(back["difference"].to_list()) == pytest.approx(sorted(-found["difference"]))


def test_an_episode_that_is_not_there_is_none(lake: Lake, evaluation: frames.Evaluation) -> None:
    assert frames.episode(lake, evaluation, "nope") is None


def test_a_running_training_shows_what_it_has_logged_and_a_dead_one_does_not(tmp_path: Path) -> None:
    for key, at in (("alive", time.time()), ("dead", time.time() - 2 * frames.ALIVE_SECONDS)):
        folder = tmp_path / "jobs" / key
        folder.mkdir(parents=True)
        (folder / "heartbeat.json").write_text(json.dumps({"at": at, "text": "RL step 5 of 30", "pid": 1}))
        (folder / "curves-rl.jsonl").write_text(
            '{"loss": 1.5, "step": 5}\n{"eval_rr": 0.6, "step": 10}\n{"lo'
        )
    (tmp_path / "jobs" / "torn").mkdir()
    (tmp_path / "jobs" / "torn" / "heartbeat.json").write_text("{")
    (found,) = frames.running(tmp_path)
    assert (found.key, found.text) == ("alive", "RL step 5 of 30")
    assert found.curves.rows() == [("rl", 5, "loss", 1.5), ("rl", 10, "eval_rr", 0.6)]


def test_a_question_answers_or_says_what_is_wrong_with_it(lake: Lake) -> None:
    commit(lake, "train", "t", {"training_metrics": trained_rows()})
    with open_lake(lake.home, read_only=True) as opened:
        answer = frames.question(opened, "select count(*) as n from training_metrics")
        assert isinstance(answer, pl.DataFrame) and answer.item() == 1
        assert isinstance(frames.question(opened, "drop table steps"), BadQuery)


def trained_rows() -> pl.DataFrame:
    return pl.DataFrame(
        {"phase": ["rl"], "step": pl.Series([1], dtype=pl.Int32), "name": ["loss"], "value": [1.0]}
    )
