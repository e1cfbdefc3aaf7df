"""What can be seen of the vLLM engine where vLLM is not installed; tests/vllm has the rest."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ranker.engines import load, located
from ranker.errors import BadConfig


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
