"""Words that query and candidate share: weighted by idf, by BM25, or counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ranker.retrieval.bm25 import Bm25

Words = Callable[[str, int | None], list[str]]
"""A text and a limit → its first so many words; None: all. This room knows no prompts, so it is told."""


def idf_overlap(pools: pl.DataFrame, words: Words, limit: int | None) -> np.ndarray:
    """Share of the query's words, weighted by idf over the pools' distinct texts, that the candidate's text
    holds; in [0, 1].

    Args:
        pools: one row a candidate, with query and text.
        words: (text, limit) → its words. With the words that a prompt shows, what the ranker matches a policy
            can match.
        limit: only the first so many words of a text are read; None reads all.
    """
    texts, queries = pools["text"].unique().sort(), pools["query"].unique().sort()
    held = _distinct("text", texts, words, limit)
    idf = held.group_by("word").len().select("word", (1 + texts.len() / pl.col("len")).log().alias("idf"))
    unseen = float(np.log(1 + texts.len()))
    asked = (
        _distinct("query", queries, words, None)
        .join(idf, on="word", how="left")
        .with_columns(pl.col("idf").fill_null(unseen))
    )
    total = asked.group_by("query").agg(pl.col("idf").sum().alias("total"))
    pairs = pools.select("query", "text").unique()
    shared = (
        pairs.join(asked, on="query")
        .join(held, on=["text", "word"])
        .group_by("query", "text")
        .agg(pl.col("idf").sum())
    )
    scored = (
        pools.select("query", "text")
        .join(shared, on=["query", "text"], how="left", maintain_order="left")
        .join(total, on="query", how="left", maintain_order="left")
    )
    return (scored["idf"].fill_null(0.0) / scored["total"].fill_null(1.0)).to_numpy()


def _distinct(name: str, texts: pl.Series, words: Words, limit: int | None) -> pl.DataFrame:
    """Distinct (text, word) rows."""
    lists = [sorted(set(words(text, limit))) for text in texts]
    return (
        pl.DataFrame({name: texts, "word": pl.Series(lists, dtype=pl.List(pl.String))})
        .explode("word")
        .drop_nulls()
    )


def bm25(pools: pl.DataFrame, words: Words, limit: int | None) -> np.ndarray:
    """BM25 of each row's query and text, its statistics those of the pools' distinct texts.

    Args:
        pools: one row a candidate, with query and text.
        words: (text, limit) → its words, asked only where there is a limit.
        limit: only the first so many words of a text are read; None reads texts and queries as they are.
    """
    texts = pools["text"].unique(maintain_order=True)
    index = Bm25([text if limit is None else " ".join(words(text, limit)) for text in texts])
    places = pools.select("query", "text").join(
        texts.to_frame().with_row_index("at"), on="text", how="left", maintain_order="left"
    )
    scores = np.zeros(pools.height)
    for (query,), rows in places.with_row_index("row").group_by("query", maintain_order=True):
        asked = str(query) if limit is None else " ".join(words(str(query), None))
        scores[rows["row"].to_numpy()] = index.scores([asked])[0, rows["at"].to_numpy()]
    return scores


def word_overlap(pools: pl.DataFrame) -> np.ndarray:
    """How many distinct words query and text share."""
    return np.array(
        [
            len(set(query.split()) & set(text.split()))
            for query, text in zip(pools["query"], pools["text"], strict=True)
        ],
        float,
    )
