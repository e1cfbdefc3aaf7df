"""Cosines of pools: which vectors meet, how much of a text is read, and how often it is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ranker.engines import load_encoder
from ranker.retrieval import dense as retrieval
from ranker.retrieval.dense import dense
from tests.ranker.engines.models import sentence_encoder

POOLS = pl.DataFrame(
    {"query": ["p"] * 2 + ["q"] * 3, "text": ["one two", "three", "p", "one two", "one"]},
)


class Counted:
    """Vectors of letters' counts, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = np.array(
            [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float
        )
        return (counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def test_each_row_has_the_cosine_of_its_own_query_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = pl.DataFrame({"query": ["ab", "ab", "xy"], "text": ["ba", "ax", "ab"]})
    assert np.allclose(dense(pools, Counted()), [1, 0.5, 0])
    monkeypatch.setattr(retrieval, "CHUNK", 2)
    assert np.allclose(dense(pools, Counted()), [1, 0.5, 0]), "however many rows are multiplied at once"


def test_a_text_is_encoded_once_and_no_further_than_the_limit() -> None:
    encode = Counted()
    dense(POOLS, encode, limit=1)
    assert sorted(encode.asked) == ["one", "p", "q", "three"]


def test_empty_pools_have_no_scores() -> None:
    assert dense(POOLS.clear(), Counted()).shape == (0,)


def test_a_real_encoder_puts_the_query_itself_first(tmp_path: Path) -> None:
    pools = pl.DataFrame({"query": ["open a file"] * 3, "text": ["close 7 doors", "open a file", ""]})
    scores = dense(pools, load_encoder(sentence_encoder(tmp_path / "encoder")))
    assert scores.argmax() == 1 and scores[1] == pytest.approx(1, abs=1e-5) and np.isfinite(scores).all()
