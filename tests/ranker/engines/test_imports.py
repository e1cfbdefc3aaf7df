"""What a process that ranks imports of other people's libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ranker.refs import PROJECT

BEFORE = "from transformers import LlamaForCausalLM\n"
AFTER = """
from ranker.engines.imports import without_sklearn
without_sklearn()
from transformers import LlamaForCausalLM, utils
from transformers.generation import candidate_generator
import sys
assert utils.is_sklearn_available(), "whoever asks elsewhere is told what is"
print("sklearn" in sys.modules, candidate_generator.is_sklearn_available())
"""


@pytest.mark.parametrize(("script", "said"), [(AFTER, "False False"), (BEFORE + AFTER, "True True")])
def test_transformers_does_without_sklearn_where_it_was_not_loaded_before(script: str, said: str) -> None:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == said
