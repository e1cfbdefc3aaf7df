"""Trains R1-Ranker policies and keeps them in production. `Ranker` ranks with one (docs/library.md)."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ranker.library import Ranker, Result, Results

__all__ = ["Ranker", "Result", "Results"]

# bm25s computes with JAX where that is installed, at its import, and JAX then takes three quarters of a GPU's
# memory from all that trains there.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# torch's threads that wait for one another take the core from whoever else computes, unless they sleep: two
# trainings on the same cores each got 1.8 times as far (docs/scale.md). Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> object:
    # late, and by the module's name: what a stage reaches by import is its identity, and each reaches this
    if name in __all__:
        return getattr(import_module("ranker.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
