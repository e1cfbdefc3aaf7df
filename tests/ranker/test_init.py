"""What the package hands on, and that its import takes nothing from a GPU."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import ranker
from ranker.refs import PROJECT

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
            [sys.executable, "-c", "import ranker.retrieval.bm25"],
            check=True,
            env=environment | {"PYTHONPATH": path, "SEEN": str(seen)} | chosen,
            timeout=120,
        )
        assert seen.read_text() == wanted


OPENMP = """
import ctypes, importlib.util, pathlib
import ranker
(torch,) = importlib.util.find_spec("torch").submodule_search_locations
(path,) = pathlib.Path(torch, "lib").glob("libgomp*")
ctypes.CDLL(str(path))
"""


@pytest.mark.parametrize("chosen", ["", "ACTIVE"])
def test_threads_of_torch_that_wait_leave_the_core_to_others(chosen: str) -> None:
    """As torch's own OpenMP says, once it is loaded behind the package."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    given = environment | {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": chosen} if chosen else {})
    done = subprocess.run(
        [sys.executable, "-c", OPENMP], env=given, check=True, capture_output=True, text=True, timeout=120
    )
    assert f"OMP_WAIT_POLICY = '{chosen or 'PASSIVE'}'" in done.stderr


def public() -> Iterator[str]:
    """Every public name with what callers write: parameters, fields."""
    for name in ranker.__all__:
        kind = getattr(ranker, name)
        if is_dataclass(kind):
            yield f"{name}({', '.join(one.name for one in fields(kind))})"
            continue
        for own, value in vars(kind).items():
            if callable(getattr(kind, own)) and not own.startswith("_"):
                function = value.__func__ if isinstance(value, classmethod) else value
                _, *taken = inspect.signature(function).parameters
                yield f"{name}.{own}({', '.join(taken)})"


def test_a_public_name_changes_with_an_entry_in_the_changelog() -> None:
    """The newest list there is of the names as they are."""
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    listed = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert listed and listed[1].split("\n")[:-1] == list(public()), "\n".join(public())


def test_what_is_not_handed_on_is_no_name_of_the_package() -> None:
    assert set(ranker.__all__) <= set(dir(ranker))
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = ranker.nothing_of_this_name  # type: ignore[attr-defined]
