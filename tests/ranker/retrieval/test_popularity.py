"""Popularity: counts of training users, the query's own left out."""

from __future__ import annotations

import polars as pl

from ranker.retrieval.popularity import popularity


def test_a_training_querys_own_user_does_not_count_for_its_positive() -> None:
    pools = pl.DataFrame(
        {
            "split": ["train", "train", "test", "test"],
            "relevance": [1.0, 0.0, 1.0, 0.0],
            "prior": [5, 5, 5, 0],
        }
    )
    assert popularity(pools).tolist() == [4, 5, 5, 0]
