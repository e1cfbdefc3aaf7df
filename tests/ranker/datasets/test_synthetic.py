"""Set matching: what relevance counts, and what synonyms hide."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.config import Task, task
from ranker.datasets import readers, synthetic
from ranker.datasets.bundle import Bundle
from ranker.errors import BadConfig


def made(pool_size: int = 8, **options: int) -> Bundle:
    return synthetic.read(
        Task(
            name="made",
            scenario="synthetic",
            reader="synthetic",
            pool_size=pool_size,
            wording="Rank.",
            options={"queries": 60, "seed": 3, **options},
        )
    )


def test_relevance_is_the_number_of_shared_attributes() -> None:
    found = made()
    assert len(found.qrels) == 60 * 8
    for query, item, relevance in (
        found.qrels.join(found.queries, on="query_id").select("text", "item_id", "relevance").iter_rows()
    ):
        assert relevance == len(set(query.split()) & set(item.split()))


def test_each_synonym_stands_for_one_attribute_and_in_candidates_only() -> None:
    found = made(synonyms=4)
    asked = {word for text in found.queries["text"] for word in text.split()}
    shown = {word for text in found.items["text"] for word in text.split()}
    hidden = {word for word in shown if word.startswith("b")}
    assert (
        asked == {f"a{number}" for number in range(12)}
        and hidden == {f"b{number}" for number in range(4)}
        and len(shown) == 12
    )
    joined = found.qrels.join(found.queries, on="query_id").select("text", "item_id", "relevance").rows()
    for query, item, relevance in joined:
        seen, most = len(set(query.split()) & set(item.split())), len(set(item.split()) & hidden)
        assert seen <= relevance <= seen + most and most == 1, (
            "equally many of both kinds: their number tells nothing"
        )
    # One attribute alone explains each name: wherever the name is and nothing visible says so, the relevance
    # tells.
    for name in hidden:
        said = [
            (set(query.split()), relevance - len(set(query.split()) & set(item.split())))
            for query, item, relevance in joined
            if name in item.split()
        ]
        assert (
            len([a for a in asked - shown if all((a in query) == bool(extra) for query, extra in said)]) == 1
        )


@pytest.mark.parametrize(
    "options",
    [
        {"synonyms": 24},
        {"synonyms": 5},
        {"attributes": 8, "chosen": 4, "synonyms": 4, "candidates": 19},
        {"synonyms": -1},
        {"chosen": 7},
        {"colour": 1},
        {"attributes": 0, "chosen": 0},
        {"queries": 0},
        {"seed": -1},
    ],
)
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadConfig, match="option"):
        made(**options)


def test_what_the_teacher_sees_tells_nothing_of_the_synonyms() -> None:
    """Otherwise an SFT policy learns synonyms from the teacher's grades, and rewards are credited with it."""
    found = made(queries=3000, attributes=12, chosen=4, synonyms=6)
    rows = found.qrels.join(found.queries, on="query_id").select("text", "item_id", "relevance").rows()
    seen = np.array([len(set(query.split()) & set(item.split())) for query, item, _ in rows])
    hidden = np.array([relevance for *_, relevance in rows]) - seen
    assert set(seen) == set(hidden) == {0, 1, 2}
    assert abs(np.corrcoef(seen, hidden)[0, 1]) < 4 / np.sqrt(len(rows)), (
        "four standard errors: one overlap drawn for both kinds has 0.46"
    )
    by_seen = [hidden[seen == overlap].mean() for overlap in (0, 1, 2)]
    assert max(by_seen) - min(by_seen) < 0.06, by_seen


def test_a_pool_of_two_has_something_to_rank() -> None:
    found = made(pool_size=2, candidates=2, synonyms=4)
    spread = found.qrels.group_by("query_id").agg(
        pl.len().alias("count"), (pl.col("relevance").max() - pl.col("relevance").min()).alias("spread")
    )
    assert len(spread) == 60 and (spread["count"] == 2).all() and (spread["spread"] > 0).all()


def _synthetic(**options: int) -> Task:
    return task("synthetic").model_copy(update={"options": options})


@given(seed=st.integers(0, 10_000), chosen=st.integers(2, 4), extra=st.integers(4, 8))
@settings(max_examples=15, deadline=None)
def test_synthetic_relevance_is_the_overlap(seed: int, chosen: int, extra: int) -> None:
    bundle = readers.read(
        _synthetic(queries=10, attributes=2 * chosen + extra, chosen=chosen, candidates=4, seed=seed), None
    )
    joined = bundle.qrels.join(bundle.queries, on="query_id")
    assert all(
        len(set(item.split()) & set(text.split())) == grade for _, item, grade, _, text in joined.iter_rows()
    )
    spread = bundle.qrels.group_by("query_id").agg(
        low=pl.col("relevance").min(), high=pl.col("relevance").max()
    )
    assert (spread["high"] > spread["low"]).all() and (spread["high"] > 0).all()


def test_synthetic_is_decided_by_its_seed() -> None:
    same, again, other = (readers.read(_synthetic(queries=20, seed=seed), None) for seed in (1, 1, 2))
    assert same.qrels.equals(again.qrels) and not same.qrels.equals(other.qrels)
    assert readers.digest(_synthetic(seed=1), None) != readers.digest(_synthetic(seed=2), None)
