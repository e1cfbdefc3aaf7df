"""The policy from scratch: the same one for the same seed, in whatever process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter

from ranker.config import PolicyParams
from ranker.refs import PROJECT
from ranker.train.worker import policy
from ranker.train.worker.job import Job
from tests.ranker.train.jobs import tiny, write_job


def vocabulary() -> list[str]:
    draw = random.Random(3)
    words = Counter({"".join(draw.choices("abcdefghijklmno", k=draw.randint(3, 9))): 1 for _ in range(1_500)})
    found = policy.build_tokenizer([";"], words, PolicyParams(vocab_size=800)).get_vocab()
    return sorted(found, key=found.__getitem__)


def test_the_vocabulary_is_the_same_in_every_process() -> None:
    """Which pieces rare words fall into is decided between many equals. Strings hash here by a seed that is
    drawn when a process starts, or by one that another process does not share.
    """
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import vocabulary; print(vocabulary())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=PROJECT,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    assert done.stdout == f"{vocabulary()}\n"


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
