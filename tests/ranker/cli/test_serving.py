"""`ranker serve`: what cannot serve is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ranker.cli.commands import ranker


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "nowhere"), "config.json"),
        (("--model", "models:/"), "models:/"),
        (("--strategy", "nonsense"), "iterative"),
        (("--host", "0.0.0.0"), "token"),
        (("--task", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_serve_is_told_at_once(home: Path, options: tuple[str, ...], says: str) -> None:
    shown = ranker("serve", *options)
    assert shown.exit_code == 2 and says in shown.stderr
