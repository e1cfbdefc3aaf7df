"""What teachers are asked: pools that hold a best candidate, shares as asked, the same again by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.config import DistillParams, task
from ranker.stages.asked_traces import SMALLEST_POOL, draws, shape, trace_id

RELEVANCE = st.integers(2, 6).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n), min_size=1, max_size=5
    )
)


@given(relevance=RELEVANCE, seed=st.integers(0, 9), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_every_pool_is_large_enough_and_holds_a_best_candidate(
    relevance: list[list[float]], seed: int, share: float
) -> None:
    values = np.array(relevance)
    params = DistillParams(traces=40, rank_share=0.5, seed=seed)
    drawn = draws(params, "t", values, share)
    again = draws(params, "t", values, share)
    sets, n = values.shape
    sizes = drawn.shown.sum(1)
    assert (sizes >= min(SMALLEST_POOL, n)).all() and (sizes <= n).all()
    own = values[drawn.row]
    assert (np.where(drawn.shown, own, -1).max(1) == own.max(1)).all()
    assert np.bincount(drawn.row, minlength=sets).min() >= 40 // sets, "sets take turns"
    if share == 1.0:
        assert (sizes[drawn.whole] == n).all()
    for name in ("row", "shown", "whole", "thinking", "first"):
        assert np.array_equal(getattr(drawn, name), getattr(again, name))


def test_shares_are_as_asked_and_another_seed_or_task_draws_others() -> None:
    values, params = np.eye(4), DistillParams(traces=4_000, rank_share=0.4, nothink_share=0.2)
    drawn = draws(params, "t", values)
    assert drawn.whole.mean() == pytest.approx(0.4, abs=0.05)
    assert (~drawn.thinking).mean() == pytest.approx(0.2, abs=0.05)
    others = (draws(params.model_copy(update={"seed": 99}), "t", values), draws(params, "u", values))
    assert all(not np.array_equal(drawn.shown, other.shown) for other in others)


def test_a_trace_has_one_id_and_a_shape_changes_with_what_decides_traces() -> None:
    ids = {trace_id(key, name, i) for key in "ab" for name in ("t", "u") for i in range(50)}
    assert len(ids) == 200 and all(len(one) == 16 for one in ids)
    synthetic = task("synthetic")
    assert shape(synthetic.model_copy(update={"max_words": 3})) != shape(synthetic)
    assert shape(synthetic.model_copy(update={"pool_size": 9})) == shape(synthetic)
