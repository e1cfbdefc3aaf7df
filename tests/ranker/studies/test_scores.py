from __future__ import annotations

import polars as pl
import pytest

from ranker.metrics.significance import bootstrap_mean
from ranker.studies.scores import Pick, Results, baseline
from tests.ranker.studies.made import results, values

TWO = {("a", "sft", "iterative"): 0.5, ("a", "rl", "iterative"): 0.55}
RL, SFT = Pick("a", "rl"), Pick("a", "sft")


def test_the_difference_is_paired_by_query_and_clustered_by_group_with_seeds_averaged_first() -> None:
    frame = values(TWO, seeds=3)
    found = Results(frame, resamples=300).difference(RL, SFT)
    by_query = (
        frame.filter(pl.col("model").is_in(["rl", "sft"]))
        .group_by("set_id", "group_id", "model")
        .agg(pl.col("rr").mean())
        .pivot(on="model", values="rr")
    )
    by_hand = bootstrap_mean(
        (by_query["rl"] - by_query["sft"]).to_list(), by_query["group_id"].to_list(), resamples=300, seed=23
    )
    assert found is not None and found.queries == 200
    assert (found.value, found.lower, found.upper) == pytest.approx(
        (by_hand.value, by_hand.lower, by_hand.upper), abs=5e-3
    )
    assert found.value == pytest.approx((by_query["rl"] - by_query["sft"]).mean())


def test_pairing_narrows_the_interval() -> None:
    found = results(TWO)
    paired, alone = found.difference(RL, SFT), found.mean(RL)
    assert paired is not None and alone is not None
    assert paired.upper - paired.lower < (alone.upper - alone.lower) / 1.3
    assert paired.lower > 0


def test_more_seeds_add_no_queries_and_no_false_certainty() -> None:
    one, many = results(TWO, seeds=1, noise=0.0), results(TWO, seeds=4, noise=0.0)
    assert one.mean(RL) == many.mean(RL)
    assert (one.seeds(RL), many.seeds(RL)) == (1, 4)


def test_users_of_two_tasks_are_two_clusters() -> None:
    found = results(TWO, tasks=("rec-movie", "movietweetings"))
    assert found.pooled["cluster"].n_unique() == 2 * 50
    assert found.scenarios == {"recommendation": ["movietweetings", "rec-movie"]}


def test_arms_with_other_queries_are_not_compared() -> None:
    frame = values(TWO)
    other = values({("b", "rl", "iterative"): 0.9}).with_columns(pl.col("set_id") + "x", pools=pl.lit("q"))
    assert Results(pl.concat([frame, other])).difference(Pick("b", "rl"), RL) is None


def test_a_row_that_is_not_there_has_no_mean() -> None:
    assert results(TWO).mean(Pick("a", "untrained")) is None


def test_baselines_are_shown_once_for_arms_that_share_their_pools() -> None:
    means = {("a", "rl", "iterative"): 0.5, ("b", "rl", "iterative"): 0.5, ("c", "rl", "iterative"): 0.5}
    picks = results(means, pools={"c": "other"}).picks
    assert [pick.arm for pick in picks if pick.model == "random"] == ["a", "c"]
    assert [pick.arm for pick in picks if pick.model == "rl"] == ["a", "b", "c"]
    assert picks[-1].strategy == "baseline" and picks[0].strategy != "baseline"


def test_the_relative_gain_is_the_mean_over_tasks_and_not_over_queries() -> None:
    small = values(
        {("a", "sft", "iterative"): 0.5, ("a", "rl", "iterative"): 0.75},
        tasks=("vaswani",),
        queries=40,
        noise=0.0,
    )
    large = values(
        {("a", "sft", "iterative"): 0.5, ("a", "rl", "iterative"): 0.50},
        tasks=("rec-movie",),
        queries=400,
        noise=0.0,
    )
    small, large = (
        frame.with_columns(rr=pl.col("rr").mean().over("model", "strategy")) for frame in (small, large)
    )
    found = Results(pl.concat([small, large]), resamples=200).relative(RL, SFT)
    gains = [
        part.filter(model="rl")["rr"][0] / part.filter(model="sft")["rr"][0] - 1 for part in (small, large)
    ]
    assert found is not None and found.value == pytest.approx(sum(gains) / 2) and found.queries == 440


def test_the_teacher_is_a_row_like_any_other() -> None:
    gap = results(TWO).difference(RL, baseline("a", "teacher"))
    assert gap is not None and gap.upper < 0
