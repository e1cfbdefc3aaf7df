"""What `make bench` proves at length (benchmarks/full_length.py) and `make test` with one case of each kind.

A test marked `full_length` asserts the same in both: over more kills, more damage, or more steps in the one.
vLLM's have an environment of their own and no mark: `RANKER_FULL_LENGTH=1 make test-vllm`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
FULL = os.environ.get("RANKER_FULL_LENGTH", "") == "1"

at_full_length = pytest.mark.full_length
"""For a test that has another length in `make bench`."""


def in_bench_alone(test: Callable[..., None]) -> Callable[..., None]:
    """For a test whose mechanism another one shows in `make test`, at one place."""
    left_out = pytest.mark.skipif(not FULL, reason="at length: make bench ARGS='--only full-length'")
    return at_full_length(left_out(test))


def length(short: T, full: T) -> T:
    """`short`, or `full` in `make bench`."""
    return full if FULL else short
