"""Item-kNN: it uses what training users did, and never a query's own answer."""

from __future__ import annotations

import numpy as np
import polars as pl

from ranker.retrieval.item_knn import item_knn


def _pools(
    history: list[str], items: list[str], *, split: str = "test", group: str = "u", positive: str = ""
) -> pl.DataFrame:
    n = len(items)
    return pl.DataFrame(
        {
            "split": [split] * n,
            "group_id": [group] * n,
            "item_id": items,
            "relevance": [float(i == positive) for i in items],
            "query_items": [history] * n,
        }
    )


def _visits(*walks: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"u{n:02}", item) for n, walk in enumerate(walks) for item in walk],
        schema=["user_id", "item_id"],
        orient="row",
    )


def test_item_knn_prefers_what_others_touched_next() -> None:
    score = item_knn(_pools(["a", "b"], ["c", "x", "z"]), _visits("abc", "abc", "xyw", "axy"))
    assert score[0] > score[1] > score[2] == 0


def test_item_knn_damps_what_everyone_touched() -> None:
    walks = ["ab", "ab", *["b" + c for c in "cdefghijklmnop"], "aq", "aq"]
    score = item_knn(_pools(["a"], ["b", "q"]), _visits(*walks))
    assert score[1] > score[0] > 0


def test_item_knn_leaves_the_querys_own_user_out() -> None:
    alone = _visits("abc", "xyz")
    own = item_knn(_pools(["a", "b"], ["c", "z"], split="train", group="u00", positive="c"), alone)
    assert np.allclose(own, 0)
    held_out = item_knn(_pools(["a", "b"], ["c", "z"]), alone)
    assert held_out[0] > 0


def test_leaving_out_equals_learning_from_the_others() -> None:
    walks = ["abcde", "bacde", "ecdab", "xaybc"]
    pools = {"history": ["a", "b", "c"], "items": ["d", "x", "y"]}
    without = item_knn(_pools(pools["history"], pools["items"]), _visits(*walks[1:]))
    left_out = item_knn(
        _pools(pools["history"], pools["items"], split="train", group="u00", positive="d"), _visits(*walks)
    )
    assert np.allclose(left_out[0], without[0])
