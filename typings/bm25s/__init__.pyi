"""bm25s has no types: what we use of it."""

from typing import Literal, NamedTuple, overload

import numpy as np

class Tokenized(NamedTuple):
    ids: list[list[int]]
    vocab: dict[str, int]

class BM25:
    def __init__(self) -> None: ...
    def index(self, corpus: Tokenized, *, show_progress: bool) -> None: ...
    def get_scores(self, query_tokens_single: list[str]) -> np.ndarray: ...

@overload
def tokenize(
    texts: list[str], *, stopwords: str, show_progress: bool, return_ids: Literal[True] = True
) -> Tokenized: ...
@overload
def tokenize(
    texts: list[str], *, stopwords: str, show_progress: bool, return_ids: Literal[False]
) -> list[list[str]]: ...
