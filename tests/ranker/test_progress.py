"""What is said of work that takes more than some seconds, and who hears it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from ranker import progress
from ranker.progress import MIB, Progress, made, rate, remaining, show
from tests.ranker.lake.servers import until


class Seen:
    """A screen that remembers what it was shown."""

    def __init__(self) -> None:
        self.work: list[list[str]] = []
        self.lasting: list[Progress] = []
        self.lines: list[str] = []

    def changed(self, work: tuple[Progress, ...]) -> None:
        self.work.append([one.what for one in work])
        self.lasting += work

    def logs(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set; no line is due by itself."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "FIRST", 3_600.0)
    return now


@pytest.fixture
def screen() -> Iterator[Seen]:
    found = Seen()
    show(found)
    yield found
    show(None)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "about 5 s left"), (89, "about 89 s left"), (150, "about 2 min left"), (9_000, "about 2.5 h left")],
)
def test_the_time_left_is_told_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert remaining(seconds) == said


@pytest.mark.parametrize(
    ("per_second", "unit", "said"),
    [
        (1_234.5, "", "1,234.5/s"),
        (0.5, "", "30.0/min"),
        (0.001, "", "3.6/h"),
        (3 * MIB, "B", "3.0 MiB/s"),
    ],
)
def test_so_is_the_rate(per_second: float, unit: str, said: str) -> None:
    assert rate(per_second, unit) == said


def test_the_time_left_goes_by_what_was_made_and_not_by_what_was_there(clock: list[float]) -> None:
    with Progress("batches", 6) as counted:
        counted.done(made=False, parts=2)
        assert counted.line == "batches: 2 of 6, 0 s so far"
        clock[0] = 30.0
        counted.done()
        assert counted.line == "batches: 3 of 6, 2.0/min, about 2 min left"
        clock[0] = 90.0
        counted.done(parts=3)
        assert counted.line == "batches: 6 of 6, 2.7/min"
    with Progress("a.csv", 4 * MIB, unit="B") as counted:
        clock[0] += 2
        counted.at(MIB)
        counted.at(MIB / 2)  # nothing is lost
        assert counted.line == "a.csv: 1.0 of 4.0 MiB (25%), 0.5 MiB/s, about 6 s left"


def test_what_cannot_be_counted_says_how_long_it_takes(clock: list[float]) -> None:
    with Progress("merging files") as counted:
        clock[0] = 1_500.0
        assert counted.line == "merging files: 1,500 s so far"
        counted.note = "SFT step 3 of 4"
        assert counted.line == "merging files: SFT step 3 of 4"


def test_work_within_work_is_shown_in_its_order_and_counts_for_who_counts_it(
    clock: list[float], screen: Seen
) -> None:
    made("queries")  # nobody counts them
    with Progress("ranking", 4, unit="queries") as outer:
        with Progress("reading") as inner:
            made("queries", 3)
            assert (outer.count, inner.count) == (3, 0)
        assert list(outer.over("a")) == ["a"] and outer.count == 4
    assert screen.work == [["ranking"], ["ranking", "reading"], ["ranking"], []]


def test_lines_come_now_and_then_from_the_innermost_alone(
    monkeypatch: pytest.MonkeyPatch, screen: Seen
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.2)
    said: list[str] = []
    with Progress("stage", log=said.append), Progress("pools", 8, said.append) as inner:
        inner.done()
        until(lambda: len(said) >= 2)
        began = len(said)
        time.sleep(0.5)
    assert len(said) - began <= 3, "no oftener than it may"
    assert all(re.fullmatch(r"pools: 1 of 8, [\d.,]+/(s|min), about \d+ (s|min) left", line) for line in said)
    assert screen.lines == said, "a screen knows what the log is told"
    ended = len(said)
    time.sleep(0.3)
    assert len(said) == ended


def test_an_error_ends_what_was_open(screen: Seen) -> None:
    with pytest.raises(ZeroDivisionError), Progress("dividing", 2):
        _ = 1 / 0
    assert screen.work[-1] == []
