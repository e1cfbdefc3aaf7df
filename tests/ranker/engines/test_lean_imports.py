"""In processes of their own, as this one has imported everything by now."""

from __future__ import annotations

import subprocess
import sys

import pytest


def said(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()


def test_transformers_neither_loads_nor_misses_what_nothing_uses() -> None:
    """It takes them for not installed; whoever imports them afterwards has them."""
    assert (
        said(
            "import sys\n"
            "from ranker.engines.lean_imports import UNUSED, lean_imports\n"
            "with lean_imports():\n"
            "    from transformers import LlamaForCausalLM\n"
            "print([package for package in UNUSED if package in sys.modules])\n"
            "import scipy.optimize, sklearn\n"
            "print(sklearn.__name__, scipy.optimize.__name__)"
        )
        == "[]\nsklearn scipy.optimize"
    )


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_there_already_stays(fails: bool) -> None:
    assert (
        said(
            "import importlib.metadata as listed, scipy, sys\n"
            "from ranker.engines.lean_imports import lean_imports\n"
            "before = listed.packages_distributions\n"
            "try:\n"
            "    with lean_imports():\n"
            "        import scipy\n"
            "        once = listed.packages_distributions() is listed.packages_distributions()\n"
            f"        assert not {fails}\n"
            "except AssertionError:\n"
            "    pass\n"
            "print(once, sys.modules['scipy'] is scipy, 'sklearn' in sys.modules,"
            " listed.packages_distributions is before)"
        )
        == "True True False True"
    )
