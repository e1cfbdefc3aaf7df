"""Item-kNN: items that training users touched near what a query's user touched. Pure arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

WINDOW = 12
"""Two visits of one user count as neighbours up to so many places apart,"""
TAU = 3.0
"""less the further apart they lie: exp(−(gap − 1) / TAU)."""
ALL_VISITS = 0.1
"""Weight of two visits of one user at any distance."""
RECENCY = 4.0
"""History items count less the further back they lie: exp(−(back − 1) / RECENCY)."""
DAMPING = 0.85
"""Exponent of a candidate's popularity in the denominator; a history item's is 0.5. (Cosine has 0.5 for
both.)
"""
SHRINK = 3.0


def item_knn(pools: pl.DataFrame, visits: pl.DataFrame) -> np.ndarray:
    """Item-kNN over co-visits of training users: near ones in time count most, popular candidates are damped.

    Args:
        pools: one row a candidate, with split, group_id, item_id, relevance and query_items (oldest first).
        visits: user_id, item_id of training users, in time order by user.

    Returns:
        Scores ≥ 0, float (rows of pools,). For a training query the visits of its own user are left out: of
        its pool only the positive is among them (negatives are untouched), and the history lies right before
        it.
    """
    ids = (
        pl.concat([visits["item_id"], pools["item_id"], pools["query_items"].explode()])
        .drop_nulls()
        .unique()
        .sort()
    )
    at = ids.to_frame("id").with_row_index("at")
    together, count = _visits_together(visits, at)
    pairs = pools.select(
        pl.int_range(pl.len()).alias("row"),
        "item_id",
        (pl.col("split") == "train").alias("own"),
        "relevance",
        "query_items",
    ).explode("query_items")
    pairs = pairs.with_columns(
        _at("item_id", at, "candidate"),
        _at("query_items", at, "seen"),
        (pl.len() - pl.int_range(pl.len())).over("row").alias("back"),
    )
    row, candidate, seen, back = (pairs[c].to_numpy() for c in ("row", "candidate", "seen", "back"))
    own = pairs["own"].to_numpy().astype(float)
    own_pair = own * (pairs["relevance"].to_numpy() > 0)
    joint = np.asarray(together[seen, candidate]).ravel() - own_pair * (
        ALL_VISITS + np.where(back <= WINDOW, np.exp(-(back - 1) / TAU), 0.0)
    )
    norm = (
        np.maximum(count[seen] - own, 1) ** 0.5 * np.maximum(count[candidate] - own_pair, 0.5) ** DAMPING
        + SHRINK
    )
    weight = np.exp(-(back - 1) / RECENCY)
    total = np.bincount(row, weight * np.maximum(joint, 0) / norm, minlength=pools.height)
    return total / np.maximum(np.bincount(row, weight, minlength=pools.height), 1e-12)


def _at(column: str, at: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(column).replace_strict(at["id"], at["at"], default=None).alias(name)


def _visits_together(visits: pl.DataFrame, at: pl.DataFrame) -> tuple[sp.csr_matrix, np.ndarray]:
    """Symmetric weights of item pairs, sparse (items, items), and visits by item, (items,)."""
    coded = visits.select((pl.col("user_id").rank("dense") - 1).alias("user"), _at("item_id", at, "item"))
    user, item, n = (
        coded["user"].to_numpy().astype(np.int64),
        coded["item"].to_numpy().astype(np.int64),
        at.height,
    )
    matrix = sp.csr_matrix(
        (np.ones(len(item), np.float32), (user, item)), shape=(int(user.max(initial=0)) + 1, n)
    )
    together = ALL_VISITS * (matrix.T @ matrix)
    for gap in range(1, min(WINDOW + 1, len(item))):
        same = user[:-gap] == user[gap:]
        near = sp.csr_matrix(
            (
                np.full(int(same.sum()), np.exp(-(gap - 1) / TAU), np.float32),
                (item[:-gap][same], item[gap:][same]),
            ),
            shape=(n, n),
        )
        together = together + near + near.T
    return together.tocsr(), np.asarray(matrix.sum(0)).ravel()
