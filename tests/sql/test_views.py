"""The views over a small evaluation and training run."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest

from ranker.lake import Lake, open_lake
from ranker.refs import PROJECT
from ranker.types import slot_labels
from tests.contracts import batches


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Pools, a training run with four rollouts, an older and a newer evaluation."""
    with open_lake(tmp_path_factory.mktemp("filled")) as lake:
        _fill(lake)
        yield lake


def write(
    lake: Lake, stage: str, key: str, tables: dict[str, pl.DataFrame], inputs: tuple[str, ...] = ()
) -> int:
    """Unjudged; gives the snapshot."""
    return lake.write(
        stage,
        key,
        tables,
        inputs=inputs,
        parameters="{}",
        code="c",
        read_snapshot=lake.snapshot(),
        details={},
        check=lambda staged: [],
    ).snapshot


def _fill(lake: Lake) -> None:
    write(lake, "candidates", "sets", batches.pooled())
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
    write(lake, "train", "trained", {"episodes": rollouts}, ("sets",))
    write(
        lake,
        "evaluate",
        "older",
        {"evaluations": batches.evaluations(rl=0.1, rl_lower=0.0)},
        ("sets", "trained"),
    )
    write(lake, "evaluate", "newer", one | excluding(one), ("sets", "trained"))


def excluding(one: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The evaluation's episode as two exclusions on pool ABC (only A is relevant): C goes, then an invalid
    answer loses A.
    """
    first = one["steps"].to_dicts()[0] | {"mode": "exclude", "action": ["C"], "taken": ["C"]}
    second = first | {
        "step": 1,
        "pool": ["B", "A"],
        "action": [],
        "taken": ["A"],
        "valid": False,
        "reason": "no_answer",
    }
    return {"steps": pl.DataFrame([first, second], schema=one["steps"].schema)}


def test_leaderboard_is_of_the_latest_evaluation_best_first(filled: Lake) -> None:
    rows = filled.rows(
        "select arm, strategy, thinking, mrr, mrr_lower, malformed, calls, tokens, queries, vs_random,"
        " batch_id from leaderboard"
    ).rows()
    assert rows == [
        ("rl", "iterative", True, 0.9, 0.7, 0.1, 2.0, 15.0, 1, "above", "newer"),
        ("random", "baseline", False, 0.5, 0.5, None, None, None, 1, None, "newer"),
        ("rl", "direct", True, 0.4, 0.3, None, None, None, 1, "not above", "newer"),
    ]


def test_malformed_shares(filled: Lake) -> None:
    assert filled.rows("select reason, answers, share from malformed order by reason").rows() == [
        ("", 1, 0.5),
        ("no_answer", 1, 0.5),
    ]


def test_reward_curve_by_train_step(filled: Lake) -> None:
    assert filled.rows("select train_step, episodes, reward, malformed from reward_curve").rows() == [
        (1, 2, -0.5, 0.5),
        (2, 2, 0.5, 0.0),
    ]


def test_position_bias_counts_by_place_what_was_named_and_whether_the_gold_survived(filled: Lake) -> None:
    """On ABC the third goes and the gold, first, survives; on BA the answer is invalid and its fallback
    takes the gold, second.
    """
    found = filled.rows(
        "select mode, pool_size, place, answers, share, gold_shown, gold_survived, gold_survived_anywhere"
        " from position_bias where stage = 'evaluate'"
    )
    assert found.rows() == [
        ("exclude", 2, 2, 0, None, 1, 0.0, 0.0),
        ("exclude", 3, 1, 0, 0.0, 1, 1.0, 1.0),
        ("exclude", 3, 3, 1, 1.0, 0, None, 1.0),
    ]


def test_a_policy_that_drops_what_stands_last_is_seen(lake: Lake) -> None:
    """Whole orders and exclusions alike: its gold survives at every place but the last; asked for an
    order, it puts the last first.
    """
    pools = [["A", "B", "C"], ["B", "C", "A"], ["C", "A", "B"], ["A", "C", "B"]]
    one = batches.evaluated()
    step = one["steps"].to_dicts()[0]
    rows = [
        step
        | {
            "episode_id": f"{mode}{n}",
            "mode": mode,
            "pool": pool,
            "action": pool[-1:],
            "taken": pool[-1:],
        }
        for mode in ("exclude", "rank")
        for n, pool in enumerate(pools)
    ]
    episodes = pl.concat(
        [one["episodes"].head(1).with_columns(episode_id=pl.lit(row["episode_id"])) for row in rows]
    )
    write(lake, "candidates", "sets", batches.pooled())
    write(
        lake,
        "evaluate",
        "e",
        {"episodes": episodes, "steps": pl.DataFrame(rows, schema=one["steps"].schema)},
        ("sets",),
    )
    found = lake.rows("select mode, place, gold_shown, gold_survived, share from position_bias").rows()
    assert found == [
        ("exclude", 1, 2, 1.0, 0.0),
        ("exclude", 2, 1, 1.0, 0.0),
        ("exclude", 3, 1, 0.0, 1.0),
        ("rank", 1, 2, 0.0, 0.0),
        ("rank", 2, 1, 0.0, 0.0),
        ("rank", 3, 1, 1.0, 1.0),
    ]


def test_step_regret_against_chance(filled: Lake) -> None:
    rows = filled.rows(
        "select pool_size, calls, regret, round(chance, 3), lost_best, malformed from step_regret"
    ).rows()
    assert rows == [(3, 1, 0.0, 0.333, 0.0, 0.0), (2, 1, 1.0, 0.5, 1.0, 1.0)]


def test_step_regret_knows_labels_of_two_letters_and_leaves_pools_of_equals_out(lake: Lake) -> None:
    """Thirty candidates: the grade of the last four (AA to AD) is 1 to 4, of all others 0."""
    labels, grades = slot_labels(30), [0.0] * 26 + [1.0, 2.0, 3.0, 4.0]
    sets, one = batches.pooled(), batches.evaluated()
    row = sets["candidates"].to_dicts()[0] | {"set_id": "s2"}
    sets["candidates"] = pl.DataFrame(
        [row | {"slot": n, "label": labels[n], "item_id": f"i{n}", "relevance": grades[n]} for n in range(30)]
    )
    step = one["steps"].to_dicts()[0] | {"mode": "exclude"}
    steps = [
        step | {"step": n, "pool": pool, "taken": [gone], "action": [gone]}
        for n, (pool, gone) in enumerate(
            [(["Z", "AD", "AA"], "AA"), (["Z", "AB", "AC"], "AC"), (["A", "B", "C"], "A")]
        )
    ]
    write(lake, "candidates", "sets", sets)
    write(
        lake,
        "evaluate",
        "e",
        {"episodes": one["episodes"].head(1), "steps": pl.DataFrame(steps, schema=one["steps"].schema)},
        ("sets",),
    )
    calls, regret, chance, lost = lake.rows("select calls, regret, chance, lost_best from step_regret").row(0)
    assert (
        (calls, lost) == (2, 0.5)
        and abs(regret - (1 / 4 + 1) / 2) < 1e-12
        and abs(chance - (5 / 12 + 5 / 9) / 2) < 1e-12
    )


def test_cost_quality_sets_cost_beside_quality(filled: Lake) -> None:
    found = filled.rows(
        "select batch_id, arm, mrr, calls, tokens, unbeaten, above_chance from cost_quality"
    ).row(0, named=True)
    one = filled.rows(
        "select rr, calls, prompt_tokens + completion_tokens as tokens from episodes where stage = 'evaluate'"
    ).row(0, named=True)
    assert found["batch_id"] == "newer" and found["unbeaten"]
    assert (found["mrr"], found["calls"], found["tokens"]) == (one["rr"], one["calls"], one["tokens"])
    assert found["above_chance"] == one["rr"] - 0.5, "the random row of that evaluation"


def test_lineage_says_who_read_and_wrote_which_snapshot(filled: Lake) -> None:
    rows = filled.rows(
        "select stage, batch_id, input_stage, input_batch_id from lineage where batch_id in ('sets', 'newer')"
    ).rows()
    assert rows == [
        ("candidates", "sets", None, None),
        ("evaluate", "newer", "candidates", "sets"),
        ("evaluate", "newer", "train", "trained"),
    ]
    wrote = {
        run: filled.finished(stage, run).snapshot
        for stage, run in (("candidates", "sets"), ("train", "trained"), ("evaluate", "newer"))
    }  # type: ignore[union-attr]
    for run, read, written, given, at in filled.rows(
        "select batch_id, read_snapshot, written_snapshot, input_batch_id, input_snapshot from lineage"
    ).iter_rows():
        assert written == wrote.get(run, written) > read and at == wrote.get(given) and (at or 0) <= read
    at = wrote["newer"]
    seen = [
        filled.rows(f"select count(*) from steps at (version => {snapshot}) where batch_id = 'newer'").item()
        for snapshot in (at - 1, at)
    ]
    assert seen == [0, 2], "the rows are in the snapshot named, and in none before"


def test_every_view_says_what_it_is(lake: Lake) -> None:
    comments = dict(
        lake.rows(
            "select view_name, comment from duckdb_views() where database_name = 'lake' and not internal"
        ).rows()
    )
    assert set(comments) == {path.stem for path in (PROJECT / "sql" / "views").glob("*.sql")} and all(
        comments.values()
    )
