"""The policy from scratch: the same one for the same seed, in whatever process."""

from __future__ import annotations

import os
import subprocess
import sys

from ranker.train.worker import policy
from ranker.train.worker.job import Job
from tests.ranker.train.jobs import tiny, write_job

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


def test_weights_are_plain_random_ones_of_a_deviation_of_one_over_the_root_of_the_width(tmp_path) -> None:
    """With Llama's own 0.02 nothing was learned; and the same seed makes the same policy."""
    params = tiny()
    job = Job.read(write_job(tmp_path, params) / "job.json")
    model, tokenizer = policy.scratch(job)
    again, _ = policy.scratch(job)
    shape = params.policy
    assert model.get_input_embeddings().weight is not model.get_output_embeddings().weight
    for (name, weight), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert weight.equal(other), name
        if weight.dim() > 1:
            assert abs(float(weight.detach().std()) * shape.hidden_size**0.5 - 1) < 0.1, name
    assert tokenizer.decode(tokenizer("A a1 ; B")["input_ids"]) == "A a1 ; B"
