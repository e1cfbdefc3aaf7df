"""Dense retrieval: the cosine of query and text as an encoder sees them. Which encoder, the caller says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

LIMIT = 128
"""Words of a text that are read: all-MiniLM-L6-v2 was trained on no more tokens, and longer texts cost by
their length.
"""
CHUNK = 65_536
"""Rows whose vectors are multiplied at once."""
Encode = Callable[[Sequence[str]], np.ndarray]
"""Texts → float32 (texts, width), every row of length 1."""


def dense(pools: pl.DataFrame, encode: Encode, limit: int = LIMIT) -> np.ndarray:
    """Cosine of each row's query and text, float (rows of pools,), from −1 to 1. A text is encoded once
    however often it stands in pools.

    Args:
        pools: one row a candidate, with query and text.
        encode: what makes vectors of texts (`ranker.engines.load_encoder`).
        limit: only the first so many words of a query or text are read.
    """
    queries, texts = (_cut(pools[column], limit) for column in ("query", "text"))
    distinct = pl.concat([queries, texts]).unique(maintain_order=True)
    if distinct.is_empty():
        return np.zeros(0)
    vectors = encode(distinct.to_list())
    places = pl.DataFrame({"text": distinct}).with_row_index("at")
    one, other = (
        column.to_frame("text").join(places, on="text", how="left", maintain_order="left")["at"].to_numpy()
        for column in (queries, texts)
    )
    parts = [slice(start, start + CHUNK) for start in range(0, len(one), CHUNK)]
    return np.concatenate([np.einsum("ij,ij->i", vectors[one[p]], vectors[other[p]]) for p in parts]).astype(
        float
    )


def _cut(texts: pl.Series, limit: int) -> pl.Series:
    return pl.Series("text", [" ".join(text.split()[:limit]) for text in texts], dtype=pl.String)
