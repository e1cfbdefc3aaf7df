"""Tables for the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.cli import tables
from ranker.cli.output import console
from ranker.errors import RankerError
from ranker.studies import results as study_results
from tests.ranker.studies.made import MEANS, STUDY, results


def test_the_terminal_shows_every_row_and_verdict(tmp_path: Path) -> None:
    written = study_results.write(tmp_path / "s", STUDY, results(MEANS), {}, {})
    screen = console()
    with screen.capture() as shown:
        screen.print(tables.study(written, 200))
    text = shown.get()
    assert all(row[5] in text for row in written.body)
    assert "does not hold  it flies: −1" in text and "not tested  it sings" in text


def test_a_failure_shows_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(tables.failure(RankerError("a rule", seen="\x1b]0;title\x07 in\trow 3", remedy="none")))
    shown = capsys.readouterr().out
    assert "␛]0;title␇" in shown and not {"\x1b", "\x07"} & set(shown)
