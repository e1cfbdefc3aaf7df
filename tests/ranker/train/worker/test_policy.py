"""The policy from scratch: the same one for the same seed, in whatever process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ranker.train.worker.answering import MATCH_WIDTH
from ranker.train.worker.policy import spread

VOCABULARY = """
import random
from collections import Counter
from ranker.config import PolicyParams
from ranker.train.worker.policy import build_tokenizer

draw = random.Random(3)
words = Counter({"".join(draw.choices("abcdefghijklmno", k=draw.randint(3, 9))): 1 for _ in range(1_500)})
vocabulary = build_tokenizer([";"], words, PolicyParams(vocab_size=800)).get_vocab()
print(sorted(vocabulary, key=vocabulary.get))
"""


def test_the_vocabulary_is_the_same_in_every_process() -> None:
    """Which pieces rare words fall into is decided between many equals."""
    seen = {
        subprocess.run(
            [sys.executable, "-c", VOCABULARY],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


@pytest.mark.parametrize(("words", "most"), [(18, 1e-6), (30, 0.07), (400, 0.19)])
def test_words_start_as_little_alike_as_there_is_room_for(words: int, most: float) -> None:
    """By chance two words of 28 dimensions have a likeness of ±0.19, which decides between equals whatever
    a policy is rewarded for.
    """
    drawn = np.random.default_rng(words).standard_normal((words, 48))
    found = spread(drawn)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    for width in (MATCH_WIDTH, 48):
        alike = found[:, :width] @ found[:, :width].T / (width / 48)
        assert np.sqrt(np.mean(alike[~np.eye(words, dtype=bool)] ** 2)) < most
    assert np.mean(np.sum(found * drawn, axis=1) / np.linalg.norm(drawn, axis=1)) > 0.75, "not another draw"
