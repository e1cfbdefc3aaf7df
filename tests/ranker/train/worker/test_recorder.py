"""Every rollout of GRPO as an episode."""

from __future__ import annotations

import polars as pl

from ranker.train import job


def test_group_advantages_sum_to_zero(undisturbed):
    home, folder, _ = undisturbed
    steps = pl.concat([pl.read_parquet(p) for p in job.collect(home, folder, "k")[0]["steps"]])
    groups = (
        steps.with_row_index()
        .group_by(pl.col("index") // 4)
        .agg(pl.col("advantage").sum(), pl.col("prompt").n_unique())
    )
    assert (groups["advantage"].abs() < 1e-3).all() and (groups["prompt"] == 1).all()
