"""Language models as candidates: how each did on training questions, on the nearest ones or on all."""

from __future__ import annotations

import numpy as np
import polars as pl

from ranker.retrieval.bm25 import Bm25

NEIGHBOURS = 60
"""Training questions that vote on a language model."""
PRIOR_WEIGHT = 5.0
"""Votes that a model's mean over all training questions is worth."""


def nearest_effect(pools: pl.DataFrame, judgements: pl.DataFrame) -> np.ndarray:
    """Mean relevance of each candidate over the training questions nearest by BM25, drawn towards its mean
    over all of them.

    Args:
        pools: one row a candidate, with query_id, query and item_id.
        judgements: query_id, query, item_id, relevance of training questions; a question never votes on
            itself.
    """
    wide = judgements.pivot(
        on="item_id",
        index=["query_id", "query"],
        values="relevance",
        aggregate_function="first",
        maintain_order=True,
    )
    models = [column for column in wide.columns if column not in ("query_id", "query")]
    effect = wide.select(models).to_numpy().astype(float)
    mean = np.nanmean(effect, axis=0)
    effect = np.where(np.isnan(effect), mean, effect)
    asked = pools.select("query_id", "query").unique(maintain_order=True)
    votes = _votes(asked, wide.select("query_id", "query"))
    table = (votes @ effect + PRIOR_WEIGHT * mean) / (votes.sum(1, keepdims=True) + PRIOR_WEIGHT)
    long = (
        pl.DataFrame(table, schema=models)
        .with_columns(asked["query_id"])
        .unpivot(index="query_id", variable_name="item_id", value_name="score")
    )
    return (
        pools.select("query_id", "item_id")
        .join(long, on=["query_id", "item_id"], how="left", maintain_order="left")["score"]
        .fill_null(float(mean.mean()))
        .to_numpy()
    )


def _votes(asked: pl.DataFrame, known: pl.DataFrame) -> np.ndarray:
    """Weight of each known question for each asked one, (asked, known): BM25 over the best hit's, for the
    NEIGHBOURS nearest.
    """
    scores = Bm25(known["query"].to_list()).scores(asked["query"].to_list())
    itself = asked.with_row_index("row").join(known.with_row_index("column"), on="query_id")
    scores[itself["row"].to_numpy(), itself["column"].to_numpy()] = 0
    top = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
    best = np.take_along_axis(scores, top, 1)
    votes = np.zeros_like(scores)
    np.put_along_axis(votes, top, best / np.maximum(best[:, :1], 1e-9), 1)
    return votes


def mean_effect(pools: pl.DataFrame, judgements: pl.DataFrame) -> np.ndarray:
    """Mean relevance of each candidate over all training questions but the one asked; arguments as for
    `nearest_effect`.
    """
    means = judgements.group_by("item_id").agg(pl.col("relevance").sum().alias("sum"), pl.len().alias("n"))
    own = judgements.select("query_id", "item_id", pl.col("relevance").alias("own"))
    known = pools.select("query_id", "item_id").join(means, on="item_id", how="left", maintain_order="left")
    known = known.join(own, on=["query_id", "item_id"], how="left", maintain_order="left")
    others = pl.col("n") - pl.col("own").is_not_null()
    score = (
        pl.when(others > 0)
        .then((pl.col("sum") - pl.col("own").fill_null(0.0)) / others)
        .otherwise(judgements["relevance"].mean())
    )
    return known.select(score.alias("score"))["score"].to_numpy()
