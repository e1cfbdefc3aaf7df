"""BM25 over a list of texts."""

from __future__ import annotations

from ranker.retrieval.bm25 import Bm25


def test_a_text_that_holds_the_rarer_word_more_briefly_scores_higher() -> None:
    index = Bm25(["zebra crossing", "zebra and a long list of other animals", "crossing", "crossing roads"])
    brief, long, none, _ = index.scores(["zebra"])[0]
    assert brief > long > none == 0


def test_unknown_words_and_empty_texts_score_zero() -> None:
    assert Bm25(["zebra", ""]).scores(["quagga", ""]).tolist() == [[0, 0], [0, 0]]
    assert Bm25(["", "the"]).scores(["zebra"]).tolist() == [[0, 0]]
