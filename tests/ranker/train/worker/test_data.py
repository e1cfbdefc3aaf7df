"""What the trainer feeds on: shares by task, batches of like lengths, completions that alone are learned."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from ranker.engines.transformers import load_tokenizer
from ranker.train.worker.data import WINDOW, batched_by_length, growing, tokenize, weighted
from tests.ranker.engines.models import tiny

ROWS = pl.DataFrame({"task": ["a"] * 90 + ["b"] * 10, "n": range(100)})


@pytest.mark.parametrize(
    ("weights", "share"), [({}, 0.5), ({"a": 3.0}, 0.75), ({"b": 0.0}, 1.0), ({"a": 1.0, "b": 1.0}, 0.5)]
)
def test_a_tasks_share_follows_its_weight_and_not_its_size(weights: dict[str, float], share: float) -> None:
    found = weighted(ROWS, weights, 3)
    assert (found["task"] == "a").mean() == pytest.approx(share, abs=0.02)
    assert set(found.filter(task="a")["n"]) == set(range(90)), "no row of the larger part is lost"
    assert found.equals(weighted(ROWS, weights, 3)) and not found.equals(weighted(ROWS, weights, 4))


def test_no_more_is_prepared_than_training_looks_at() -> None:
    assert len(weighted(ROWS, {}, 3, needed=20)) == 20
    assert len(weighted(ROWS, {}, 3, needed=10**6)) == 180


def test_batches_are_of_like_length_and_every_row_comes_before_any_comes_twice() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 320).tolist()
    drawn = batched_by_length(lengths, 8, 60, 5)
    assert len(drawn) == 480 and set(drawn[:320]) <= set(range(320))
    assert set(Counter(drawn).values()) == {1, 2}
    spans = [np.ptp([lengths[i] for i in drawn[at : at + 8]]) for at in range(0, 480, 8)]
    assert np.mean(spans) < 10, "drawn at random a batch of eight spans three quarters of the range"


def test_a_curriculum_begins_with_small_pools_and_ends_with_all() -> None:
    pools = [2, 4, 6, 8] * 50
    allowed = growing(pools, 0.5, 1000)
    sizes = [max(pools[i] for i in allowed(step)) for step in (0, 300, 999)]
    assert sizes == [2, 6, 8]
    drawn = batched_by_length([1] * 200, 2, 1000, 5, allowed)
    assert {pools[i] for i in drawn[: 2 * WINDOW]} == {2} and max(pools[i] for i in drawn[-100:]) == 8


def test_the_completion_alone_is_learned_and_what_does_not_fit_is_left_out(tmp_path) -> None:
    tokenizer = load_tokenizer(tiny(tmp_path))
    rows = {"prompt": ["a1 a2", "a1 " * 50], "completion": ["a3 a4", "a5"]}
    made = tokenize(rows, tokenizer, context=40)
    (ids,), (labels,) = made["input_ids"], made["labels"]
    learned = [token for token, label in zip(ids, labels, strict=True) if label != -100]
    assert tokenizer.decode(learned[:-1]).split() == ["a3", "a4"] and learned[-1] == tokenizer.eos_token_id
    assert made["length"] == [len(ids)] and ids[: -len(learned)] != learned
