"""PyStemmer has no types: what we use of it."""

from collections.abc import Sequence

class Stemmer:
    def __init__(self, language: str) -> None: ...
    def stemWords(self, words: Sequence[str]) -> list[str]: ...
