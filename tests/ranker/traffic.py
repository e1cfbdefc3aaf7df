"""Served days of a simulated population in a lake, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.feedback import Poison, Population, day, first, population, serve_day
from ranker.lake import Lake
from ranker.serving import collect
from ranker.serving.explore import Exploration
from tests.ranker.material import passes


@dataclass
class Served:
    """A lake with the days, and who asked."""

    lake: Lake
    people: Population


def days(
    lake: Lake,
    count: int = 2,
    *,
    each: int = 10,
    explore: Exploration = Exploration(0.4, 4),  # noqa: B008 - a frozen value
    poison: Poison | None = None,
) -> Served:
    """So many days of 30 queries, asked `each` times, by the first policy; the poison is in the last."""
    people = population("q", 30, 3)
    for number in range(count):
        spoiled = poison if number == count - 1 else None
        home = Path(lake.home)
        serve_day(home, people, first(), day(number), number, each=each, explore=explore, poison=spoiled)
    collect.both(lake, check=passes)
    return Served(lake, people)
