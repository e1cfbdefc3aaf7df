"""`ranker study`."""

from __future__ import annotations

from tests.ranker.cli.commands import ranker


def test_an_unknown_study_is_refused_with_those_that_there_are() -> None:
    shown = ranker("study", "nonsense")
    assert shown.exit_code == 2 and "'nonsense'" in shown.stderr and "prove" in shown.stderr
