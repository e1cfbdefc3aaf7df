"""Matrix factorisation of implicit feedback (Hu, Koren, Volinsky 2008) by the library `implicit`: alternating
least squares over training users; a user that it has not seen is folded in by their history (which the
library's BPR cannot do).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

ITERATIONS = 15
REGULARIZATION = 0.05
ALPHA = 20.0
"""Confidence in an interaction beside that in an absent one. Of 1 to 60 the best on the validation users of
rec-movie, with 16 factors (0.671); of 16 to 128 factors more are worse there.
"""


def factorisation(pools: pl.DataFrame, visits: pl.DataFrame, factors: int, *, seed: int = 0) -> np.ndarray:
    """Inner product of each candidate with the user that its query's history makes, float (rows of pools,).

    Deterministic for a seed. For test and validation queries only: a training query's own answer is among
    what is factorised.

    Args:
        pools: one row a candidate, with item_id and query_items.
        visits: user_id, item_id of training users.
        factors: width of a user and of an item.
    """
    # A compiled library and its companion, wanted by this row alone.
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    asked = pools.select("query_items").unique(maintain_order=True).with_row_index("query")
    ids = pl.concat([visits["item_id"], pools["item_id"], asked["query_items"].explode()]).drop_nulls()
    items = ids.unique().sort().to_frame("item_id").with_row_index("item")
    users = visits.select(pl.col("user_id").rank("dense") - 1, "item_id").rename({"user_id": "row"})
    histories = asked.select(pl.col("query").alias("row"), pl.col("query_items").alias("item_id"))
    with threadpool_limits(1, "blas"):  # implicit runs threads of its own, and warns of BLAS's
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=REGULARIZATION,
            alpha=ALPHA,
            iterations=ITERATIONS,
            random_state=seed,
        )
        model.fit(_matrix(users, items), show_progress=False)
        history = _matrix(histories.explode("item_id").drop_nulls(), items, asked.height)
        found = model.recalculate_user(np.arange(asked.height), history)
    rows = (
        pools.select("item_id", "query_items")
        .join(asked, on="query_items", how="left", maintain_order="left")
        .join(items, on="item_id", how="left", maintain_order="left")
    )
    return np.einsum(
        "ij,ij->i", found[rows["query"].to_numpy()], model.item_factors[rows["item"].to_numpy()]
    ).astype(float)


def _matrix(pairs: pl.DataFrame, items: pl.DataFrame, rows: int | None = None) -> sp.csr_matrix:
    """1 where a row (a user, a query) has an item; `rows` where the last ones may have none."""
    coded = pairs.unique(maintain_order=True).join(items, on="item_id")
    row, item = coded["row"].to_numpy().astype(np.int64), coded["item"].to_numpy().astype(np.int64)
    height = int(row.max(initial=-1)) + 1 if rows is None else rows
    return sp.csr_matrix((np.ones(len(row), np.float32), (row, item)), shape=(height, items.height))
