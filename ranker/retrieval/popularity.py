"""How many training users touched an item."""

from __future__ import annotations

import numpy as np
import polars as pl


def popularity(pools: pl.DataFrame) -> np.ndarray:
    """Training users that touched each candidate; a training query's own user, who touched its positive, is
    left out.

    Args:
        pools: one row a candidate, with split, relevance and prior (training users that touched it).
    """
    own = (pools["split"] == "train") & (pools["relevance"] > 0)
    return pools["prior"].to_numpy() - own.to_numpy().astype(float)
