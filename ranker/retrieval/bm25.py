"""BM25 over a list of texts (bm25s, English stop words): the scores of a query for all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import bm25s
import numpy as np


class Bm25:
    """An index over `texts`."""

    def __init__(self, texts: Sequence[str]) -> None:
        logging.getLogger("bm25s").setLevel(
            logging.WARNING
        )  # it logs every index at DEBUG, whatever the root says
        self._size = len(texts)
        self._index = bm25s.BM25()
        tokens = bm25s.tokenize(list(texts), stopwords="en", show_progress=False)
        self._words = set(tokens.vocab)
        if self._words:
            self._index.index(tokens, show_progress=False)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Scores ≥ 0, float32 (queries, texts); zeros for a query without a known word."""
        tokens = bm25s.tokenize(list(queries), stopwords="en", show_progress=False, return_ids=False)
        return np.stack([self._one([str(word) for word in words if word in self._words]) for words in tokens])

    def _one(self, words: list[str]) -> np.ndarray:
        return self._index.get_scores(words) if words else np.zeros(self._size, np.float32)
