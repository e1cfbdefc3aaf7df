"""What can be seen of it where vLLM is not installed; tests/vllm compares it with the reference engine."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from ranker.engines import MANIFEST, load
from ranker.engines.trees import Tree
from ranker.engines.vllm_likelihood import sequences, summed
from ranker.errors import BadConfig

TREE = Tree([7, 8], [[1, 2], [], [3]])


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_a_likelihood_policy_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"style": "likelihood"}))
    with pytest.raises(BadConfig, match="needs the package vllm"):
        load(f"vllm:{tmp_path}")


def test_each_continuation_with_tokens_is_a_request_with_the_context_before_it() -> None:
    assert sequences(TREE) == [[7, 8, 1, 2], [7, 8, 3]]


def test_a_score_sums_the_continuations_own_tokens() -> None:
    listed = [
        None,
        {8: SimpleNamespace(logprob=-50.0)},
        {1: SimpleNamespace(logprob=-1.5)},
        # vLLM tells the likeliest token beside the one that was asked about
        {2: SimpleNamespace(logprob=-0.5), 9: SimpleNamespace(logprob=-0.1)},
    ]
    found = summed(TREE, [1, 2], listed)
    assert (found.logprob, found.tokens) == (-2.0, 2)
    with pytest.raises(ValueError, match="zip"):
        summed(TREE, [1, 2], listed[:3])
