"""The views over a small evaluation and training run."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest

from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT
from tests.contracts import batches


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Pools, a training run with four rollouts, an older and a newer evaluation."""
    with open_lake(tmp_path_factory.mktemp("filled")) as lake:
        _fill(lake)
        yield lake


def _fill(lake: Lake) -> None:
    def write(stage: str, key: str, tables: dict[str, pl.DataFrame], inputs: tuple[str, ...] = ()) -> None:
        lake.write(stage, key, tables, inputs=inputs, parameters="{}", code="c", read_snapshot=1, details={}, check=lambda staged: [])

    write("candidates", "sets", batches.pooled())
    one = batches.evaluated()
    one["episodes"] = one["episodes"].head(1)
    rollouts = pl.concat([one["episodes"].head(1)] * 4).with_columns(
        episode_id=pl.Series(list("abcd")),
        stage=pl.lit("train"),
        set_id=pl.lit("s1"),
        train_step=pl.Series([1, 1, 2, 2]),
        reward=pl.Series([-1.0, 0.0, 0.5, 0.5]),
        invalid_calls=pl.Series([1, 0, 0, 0]),
    )
    write("train", "trained", {"episodes": rollouts}, ("sets",))
    write("evaluate", "older", {"evaluations": batches.evaluations(rl=0.1, rl_lower=0.0)}, ("sets", "trained"))
    write("evaluate", "newer", one | excluding(one), ("sets", "trained"))


def excluding(one: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The evaluation's episode as two exclusions on pool ABC (only A is relevant): C goes, then an invalid answer loses A."""
    first = one["steps"].to_dicts()[0] | {"mode": "exclude", "action": ["C"], "taken": ["C"]}
    second = first | {"step": 1, "pool": ["B", "A"], "action": [], "taken": ["A"], "valid": False, "reason": "no_answer"}
    return {"steps": pl.DataFrame([first, second], schema=one["steps"].schema)}


def test_leaderboard_is_of_the_latest_evaluation_best_first(filled: Lake) -> None:
    rows = filled.rows(
        "select arm, strategy, thinking, mrr, mrr_lower, malformed, calls, tokens, queries, vs_random, batch_id from leaderboard"
    ).rows()
    assert rows == [
        ("rl", "iterative", True, 0.9, 0.7, 0.1, 2.0, 15.0, 1, "above", "newer"),
        ("random", "baseline", False, 0.5, 0.5, None, None, None, 1, None, "newer"),
        ("rl", "direct", True, 0.4, 0.3, None, None, None, 1, "not above", "newer"),
    ]


def test_malformed_shares(filled: Lake) -> None:
    assert filled.rows("select reason, answers, share from malformed order by reason").rows() == [("", 1, 0.5), ("no_answer", 1, 0.5)]


def test_reward_curve_by_train_step(filled: Lake) -> None:
    assert filled.rows("select train_step, episodes, reward, malformed from reward_curve").rows() == [(1, 2, -0.5, 0.5), (2, 2, 0.5, 0.0)]


def test_order_bias_counts_valid_answers_by_place(filled: Lake) -> None:
    assert filled.rows("select mode, pool_size, place, answers, share from order_bias").rows() == [("exclude", 3, 3, 1, 1.0)]


def test_step_regret_against_chance(filled: Lake) -> None:
    rows = filled.rows("select pool_size, calls, regret, round(chance, 3), lost_best, malformed from step_regret").rows()
    assert rows == [(3, 1, 0.0, 0.333, 0.0, 0.0), (2, 1, 1.0, 0.5, 1.0, 1.0)]


def test_cost_quality_sets_cost_beside_quality(filled: Lake) -> None:
    found = filled.rows("select batch_id, arm, mrr, calls, tokens, unbeaten, above_chance from cost_quality").row(0, named=True)
    one = filled.rows("select rr, calls, prompt_tokens + completion_tokens as tokens from episodes where stage = 'evaluate'").row(0, named=True)
    assert found["batch_id"] == "newer" and found["unbeaten"]
    assert (found["mrr"], found["calls"], found["tokens"]) == (one["rr"], one["calls"], one["tokens"])
    assert found["above_chance"] == one["rr"] - 0.5, "the random row of that evaluation"


def test_lineage_is_one_row_per_input(filled: Lake) -> None:
    rows = filled.rows("select stage, batch_id, input_stage, input_batch_id from lineage where batch_id in ('sets', 'newer')").rows()
    assert rows == [
        ("candidates", "sets", None, None),
        ("evaluate", "newer", "candidates", "sets"),
        ("evaluate", "newer", "train", "trained"),
    ]


def test_every_view_says_what_it_is(lake: Lake) -> None:
    comments = dict(lake.rows("select view_name, comment from duckdb_views() where database_name = 'lake' and not internal").rows())
    assert set(comments) == {path.stem for path in (PROJECT / "sql" / "views").glob("*.sql")} and all(comments.values())
