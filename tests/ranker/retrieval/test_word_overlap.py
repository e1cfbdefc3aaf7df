"""Words that query and candidate share."""

from __future__ import annotations

import numpy as np
import polars as pl

from ranker.policy.prompts import compact_words
from ranker.retrieval import word_overlap


def test_overlap_counts_rare_words_more_and_reads_no_further_than_the_prompt() -> None:
    texts = ["common zebra", "common other", "common more", "filler filler2 filler3 zebra"]
    pools = pl.DataFrame({"query": ["common zebra"] * 4, "text": texts})
    full, cut = (
        word_overlap.idf_overlap(pools, compact_words, None),
        word_overlap.idf_overlap(pools, compact_words, 3),
    )
    assert np.isclose(full[0], 1) and full[3] > full[1] == full[2] > 0
    assert cut[3] == 0


def test_overlap_of_a_query_without_words_is_zero() -> None:
    assert word_overlap.idf_overlap(
        pl.DataFrame({"query": ["?!", "?!"], "text": ["one thing", "another"]}), compact_words, None
    ).tolist() == [0, 0]


def test_word_overlap() -> None:
    assert word_overlap.word_overlap(
        pl.DataFrame({"query": ["a1 a2"] * 2, "text": ["a2 a3", "a1 a2"]})
    ).tolist() == [1, 2]


def test_bm25_reads_no_further_than_the_prompt() -> None:
    texts = ["zebra crossing", "filler padding zebra", "nothing here"]
    pools = pl.DataFrame({"query": ["zebras"] * 3, "text": texts})
    as_it_is = word_overlap.bm25(pools, compact_words, None)
    stemmed, cut = (word_overlap.bm25(pools, compact_words, limit) for limit in (3, 2))
    assert as_it_is.tolist() == [0, 0, 0], "the form of the word differs"
    assert stemmed[0] > stemmed[1] > stemmed[2] == 0
    assert cut[0] > cut[1] == 0
