"""What can be seen of the vLLM engine where vLLM is not installed; tests/vllm has the rest."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ranker.engines import Sampling, load, located, transformers
from ranker.engines.grammar import pattern
from ranker.engines.vllm import decoding, dtype_of
from ranker.errors import BadConfig
from ranker.policy.prompts import Prompt
from tests.ranker.factories import make_set
from tests.ranker.material import tiny_lm


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="needs the package vllm"):
        load(f"vllm:{tmp_path}")


def test_a_folder_of_the_data_folder_is_found_behind_any_prefix(tmp_path: Path) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    found = str(tmp_path / "models" / "m")
    assert located("models/m", tmp_path) == found and located("vllm:models/m", tmp_path) == f"vllm:{found}"
    for name in ("org/model", "vllm:org/model", "openai:http://h/v1#models/m"):
        assert located(name, tmp_path) == name


def test_a_constrained_request_carries_the_answers_that_may_be_written() -> None:
    prompt = Prompt("exclude", False, make_set([1, 0, 0]))
    assert "regex" not in decoding(Sampling(9), 0, prompt, "chat")
    constrained = decoding(Sampling(9, seed=5, constrained=True), 2, prompt, "chat")
    assert (
        constrained["regex"] == "<answer> (A|B|C) </answer>" == pattern(prompt, 9)
        and constrained["seed"] == 7
    )
    assert (
        decoding(Sampling(9, constrained=True), 0, prompt, "compact")["regex"] == "<answer>(A|B|C)</answer>"
    ), "its words have no spaces of their own"


def test_it_computes_in_the_numbers_of_the_reference_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tiny_lm(tmp_path / "lm"))
    for computes, least, dtype in ((True, 0, "auto"), (True, 10**9, "float32"), (False, 0, "float32")):
        monkeypatch.setattr(transformers, "computes_bfloat16", lambda computes=computes: computes)
        monkeypatch.setattr(transformers, "SMALL", least)
        assert dtype_of(folder) == dtype
        assert (transformers.load_model(folder).dtype == torch.bfloat16) == (dtype == "auto")
