"""Every worked question and every view over the lake that a real retraining left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.retrain import Outcome
from ranker.config import RetrainParams
from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT

QUESTIONS = sorted((PROJECT / "sql" / "adhoc").glob("*.sql"))
VIEWS = sorted(path.stem for path in (PROJECT / "sql" / "views").glob("*.sql"))
MAY_BE_EMPTY = {
    "leaks",
    "repairs",
    "branches",
    "shadow_against_champion",
    "injection",
    "feedback_by_version",
    "interleaving",
    "feedback_days",
    "position_propensities",
    "relevance_of_clicks",
    "feedback_counted",
    "feedback_held",
}
"""No leak is the good answer; branches are made by `ranker replay`, shadows and feedback by `ranker serve`.
"""


@pytest.fixture(scope="module")
def real(outcome: Outcome, params: RetrainParams) -> Iterator[Lake]:
    with open_lake(params.home_path, read_only=True) as opened:
        yield opened


def test_there_are_enough_questions_and_each_asks_one() -> None:
    assert len(QUESTIONS) >= 15
    first = [path.read_text(encoding="utf-8").splitlines()[0] for path in QUESTIONS]
    assert all(line.startswith("-- ") for line in first) and len(set(first)) == len(first)


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_has_an_answer(real: Lake, path: Path) -> None:
    answer = real.query(path.read_text(encoding="utf-8"))
    assert answer.width >= 2
    assert answer.height or path.stem in MAY_BE_EMPTY


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_rows(real: Lake, view: str) -> None:
    assert real.rows(f"from {view}").height or view in MAY_BE_EMPTY


def test_nothing_leaked(real: Lake) -> None:
    assert real.query((PROJECT / "sql" / "adhoc" / "leaks.sql").read_text()).is_empty()


def test_cost_quality_says_what_the_evaluation_says(real: Lake, outcome: Outcome) -> None:
    shown = real.rows(
        "select batch_id, task, arm, strategy, thinking, mrr, malformed, tokens, above_chance, unbeaten from"
        " cost_quality"
    )
    stored = real.rows(
        "pivot evaluations on metric using first(value) group by batch_id, task, arm, strategy, thinking"
    )
    both = shown.join(stored, on=["batch_id", "task", "arm", "strategy", "thinking"])
    assert both.height == shown.height == 12 and set(both["batch_id"]) == {outcome.stages["evaluate"].key}
    assert (both["mrr"] - both["RR"]).abs().max() < 1e-9
    assert (both["tokens"] - both["prompt_tokens"] - both["completion_tokens"]).abs().max() < 1e-6
    chance = stored.filter(arm="random")["RR"].item()
    assert (both["mrr"] - chance - both["above_chance"]).abs().max() < 1e-9
    best = both.filter(pl.col("mrr") == pl.col("mrr").max()).sort("tokens").head(1)
    assert best["unbeaten"].item(), "the cheapest of the best has none above it"


def test_reasoning_is_judged_by_the_pairs_that_it_grades_in_order(real: Lake, outcome: Outcome) -> None:
    shown = real.query((PROJECT / "sql" / "adhoc" / "says_what_it_does.sql").read_text(encoding="utf-8"))
    steps = real.rows(
        "select e.set_id, e.arm, s.completion from steps s join episodes e using (batch_id, episode_id)"
        " where s.valid and s.mode = 'exclude' and e.thinking and batch_id ="
        f" '{outcome.stages['evaluate'].key}'"
    )
    worth = {
        (row["set_id"], row["label"]): row["relevance"]
        for row in real.rows("select set_id, label, relevance from candidates").to_dicts()
    }
    shares: dict[str, list[float]] = {}
    for row in steps.to_dicts():
        grades = [
            (worth[row["set_id"], label], int(grade))
            for label, grade in re.findall(r"\b([A-Z]{1,2}):? (\d)\b", row["completion"].split("</think>")[0])
        ]
        pairs = [(a > b) + (a == b) / 2 for better, a in grades for worse, b in grades if better > worse]
        if pairs:
            shares.setdefault(row["arm"], []).append(sum(pairs) / len(pairs))
    assert set(shown["arm"]) >= {"sft", "rl"}
    for row in shown.to_dicts():
        assert abs(row["pairs_in_order"] - sum(shares[row["arm"]]) / len(shares[row["arm"]])) < 6e-4
        assert row["pairs_in_order"] > 0.5 or row["arm"] == "untrained"


def test_worked_answers_agree_with_the_tables(real: Lake) -> None:
    def prompt(name: str) -> pl.DataFrame:
        return real.query((PROJECT / "sql" / "adhoc" / f"{name}.sql").read_text(encoding="utf-8"))

    assert prompt("rejected_traces")["traces"].sum() == real.rows("select count(*) from traces").item()
    assert prompt("tokens_spent")["calls"].sum() == real.rows("select count(*) from steps").item()
    paired = prompt("rl_against_sft")
    stored = real.rows(
        "select strategy, thinking, difference from comparisons where arm = 'rl' and against = 'sft' and"
        " metric = 'RR'"
    )
    both = paired.join(stored, on=["strategy", "thinking"])
    assert both.height == 4 and (both["mean_gain"] - both["difference"]).abs().max() < 1e-4
    assert prompt("champion_made_of")["stage"].to_list() == [
        "ingest",
        "candidates",
        "distill",
        "train",
        "evaluate",
        "register",
    ]
