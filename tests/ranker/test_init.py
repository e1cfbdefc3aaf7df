"""Importing the package takes nothing from a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

JAX = """
import os, pathlib
pathlib.Path(os.environ["SEEN"]).write_text(os.environ.get("JAX_PLATFORMS", "whatever there is"))
raise ImportError("a stand-in")
"""


def test_jax_is_kept_off_the_gpu_before_bm25s_brings_it(tmp_path: Path) -> None:
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(JAX)
    seen = tmp_path / "seen"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    for chosen, wanted in ({}, "cpu"), ({"JAX_PLATFORMS": "cuda"}, "cuda"):
        subprocess.run(
            [sys.executable, "-c", "import ranker.policy.prompts"],
            check=True,
            env=environment | {"PYTHONPATH": path, "SEEN": str(seen)} | chosen,
            timeout=120,
        )
        assert seen.read_text() == wanted
