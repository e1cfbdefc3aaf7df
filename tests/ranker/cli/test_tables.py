"""Tables for the terminal."""

from __future__ import annotations

from pathlib import Path

import polars as pl
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


HEAD = ("phase", "steps", "prompts per step", "completion tokens", "hours")
BODY = [("sft", "500", "64", "4.0 M", "0.09"), ("grpo", "1,500", "128", "786.4 M", "11.59")]


@pytest.mark.parametrize("width", [120, 50, 30])
def test_a_table_that_is_too_wide_stands_as_several_and_nothing_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    screen = console()
    with screen.capture() as shown:
        screen.print(tables.folded("Phases", HEAD, BODY, width))
    lines = [line.rstrip() for line in shown.get().splitlines()]
    assert max(map(len, lines)) <= width and "…" not in shown.get()
    heads = [line for line in lines if line.lstrip().startswith("phase")]
    assert (len(heads) == 1) == (width == 120)
    assert [line.split()[0] for line in lines if line.split()[:1] in (["sft"], ["grpo"])] == [
        "sft",
        "grpo",
    ] * len(heads)
    assert all(cell in shown.get() for row in (HEAD, *BODY) for cell in row)
    columns = [line for line in lines if line.split()[:1] in (["phase"], ["sft"], ["grpo"])][:3]
    assert len(set(map(len, columns))) == 1, "numbers end below each other"


def test_points_of_a_column_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame(
        {
            "name": ["a", "bb", "c"],
            "share": ["3.4%", "", "12.0%"],
            "value": [0.4, None, 0.05312],
            "count": [7, 123_456, None],
            "tiny": [1e-9, 2.0, None],
        }
    )
    console().print(tables.rows(frame, 120))
    head, _, *body = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.split() for line in body] == [
        ["a", "3.4%", "0.40000", "7", "1e-09"],
        ["bb", "123456", "2"],
        ["c", "12.0%", "0.05312"],
    ]
    assert body[0].index(".4%") == body[2].index(".0%") and body[0].index("0.4") == body[2].index("0.05")
    assert body[0].index("7 ") == body[1].index("6 ") and head.split()[0] == "name"
