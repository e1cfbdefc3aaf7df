"""Heapsort by calls that pick one of a few."""

from __future__ import annotations

from math import log

from tests.ranker.strategies.policies import sifts


def test_theory_itself():
    """A heap of n with d children has ⌊log_d⌋ levels: what `sifts` adds up is within the textbook's bound."""
    for n in range(2, 120):
        for children in (2, 3, 5):
            assert sifts(n, children, n) <= n + n * (log(n * (children - 1) + 1, children) + 1)
