"""Windows that slide over a long pool."""

from __future__ import annotations

import pytest

from ranker.strategies import strategy
from ranker.strategies.window import windows
from tests.ranker.strategies.policies import SAMPLING, graded, perfect


def test_windows_are_those_of_rank_llm() -> None:
    assert windows(100, 20, 10) == [(start, start + 20) for start in range(80, -1, -10)]
    assert windows(20, 20, 10) == [(0, 20)]
    assert windows(7, 20, 10) == [(0, 7)]
    assert windows(25, 20, 10) == [(5, 25), (0, 15)]


@pytest.mark.parametrize("by", ["answer", "scores"])
def test_a_pass_brings_the_best_of_each_overlap_to_the_front(by: str) -> None:
    """Rising grades: the best stand last, and only what the windows share is carried on."""
    given_set = graded(8, range(8))
    (single,), (often,) = (
        strategy(f"window:size=4,step=2,by={by},passes={passes}")(
            [given_set], perfect(), thinking=False, sampling=SAMPLING
        )
        for passes in (1, 4)
    )
    best = list(reversed(given_set.labels))
    assert list(single.ranking[:2]) == best[:2] and list(single.ranking) != best
    assert list(often.ranking) == best and len(often.steps) == 4 * len(single.steps)
