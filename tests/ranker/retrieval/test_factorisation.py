"""Matrix factorisation: users it has never seen are folded in by what they touched."""

from __future__ import annotations

import numpy as np
import polars as pl

from ranker.retrieval.factorisation import factorisation

VISITS = pl.DataFrame(
    [(f"u{n:02}", item) for n in range(40) for item in ("abcdef" if n % 2 else "uvwxyz")[n % 3 : n % 3 + 4]],
    schema=["user_id", "item_id"],
    orient="row",
)


def _pools(*pools: tuple[list[str], str]) -> pl.DataFrame:
    rows = [(item, history) for history, items in pools for item in items]
    return pl.DataFrame(rows, schema={"item_id": pl.String, "query_items": pl.List(pl.String)}, orient="row")


def test_a_candidate_of_the_histories_taste_is_above_one_of_another() -> None:
    found = factorisation(_pools((["a", "b"], "cz"), (["x", "y"], "cz")), VISITS, 2)
    assert found[0] > found[1] and found[2] < found[3]


def test_a_history_that_nobody_shares_and_an_unknown_candidate_score_zero() -> None:
    found = factorisation(_pools((["new"], "cz"), ([], "cz"), (["a"], "c?")), VISITS, 4)
    assert np.allclose(found[:4], 0, atol=1e-3) and abs(found[5]) < 1e-3 < found[4]


def test_it_is_the_same_again() -> None:
    pools = _pools((["a", "b"], "cdz"))
    assert np.array_equal(factorisation(pools, VISITS, 4, seed=3), factorisation(pools, VISITS, 4, seed=3))
