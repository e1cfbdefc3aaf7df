"""The policy from scratch: the same one for the same seed, in whatever process."""

from __future__ import annotations

import subprocess
import sys

VOCABULARY = """
import random
from collections import Counter
from ranker.config import PolicyParams
from ranker.train.worker.policy import build_tokenizer

draw = random.Random(3)
words = Counter({"".join(draw.choices("abcdefghijklmno", k=draw.randint(3, 9))): 1 for _ in range(1_500)})
vocabulary = build_tokenizer([";"], words, PolicyParams(vocabulary=800)).get_vocab()
print(sorted(vocabulary, key=vocabulary.get))
"""


def test_the_vocabulary_is_the_same_in_every_process() -> None:
    """Which pieces rare words fall into is decided between many equals."""
    seen = {subprocess.run([sys.executable, "-c", VOCABULARY], capture_output=True, text=True, check=True, timeout=120).stdout for _ in range(3)}
    assert len(seen) == 1
