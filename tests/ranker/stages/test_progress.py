"""What is said of work that takes minutes."""

from __future__ import annotations

import pytest

from ranker.stages import progress
from ranker.stages.progress import Progress


def test_the_time_left_goes_by_what_was_made_and_not_by_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 30.0, 90.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    said: list[str] = []
    counted = Progress("batches", 6, said.append)
    for made in (False, False, True, False, True, True):
        counted.done(made)
    assert said == ["batches: 3 of 6; about 2 min left", "batches: 5 of 6; about 45 s left"]
