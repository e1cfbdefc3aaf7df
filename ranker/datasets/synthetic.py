"""Set matching with known relevance, for tests: a query is k of m attributes, a candidate is worth its
overlap with it.

Options: queries, attributes (m), chosen (k), candidates (given per query), seed, synonyms. Overlaps are drawn
evenly from 0 to k, and every query has a candidate of overlap at least 1 and one of less than that.

With synonyms = s, s of the attributes have another name in candidates than in queries. Which name stands for
which is told nowhere but in the
relevance: a teacher that counts equal words cannot know it, and what is learned of it is learned from
rewards. Two things would tell it to whoever imitates that teacher, and so are kept from the data. Every set
has equally many attributes of both kinds: a word that is not the query's may still be one of its synonyms.
And the overlap in renamed attributes is drawn apart from that in the others: were one drawn for both (as was
done until 2026-11-28: correlation 0.46), candidates that the teacher grades high would have more of the
query's synonyms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import comb, prod
from pathlib import Path

import numpy as np
import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets import files
from ranker.datasets.bundle import ITEMS, QRELS, QUERIES, Bundle
from ranker.errors import BadConfig

DEFAULTS = {"queries": 400, "attributes": 12, "chosen": 3, "candidates": 8, "seed": 0, "synonyms": 0}


def read(task: Task, location: Path | None = None) -> Bundle:
    """Queries with `candidates` judged attribute sets each (or as many as the task's pool wants); `location`
    is not used.

    Raises:
        BadConfig: an option is unknown or no count, or there are fewer attribute sets than candidates.
    """
    options = _options(task)
    rng = np.random.default_rng(options["seed"])
    renamed = _renamed(options)
    plain, names = _names(options, ()), _names(options, renamed)
    kinds = [
        kind for kind in ([a for a in range(options["attributes"]) if a not in renamed], renamed) if kind
    ]
    queries: list[tuple[str, str, str]] = []
    qrels: list[tuple[str, str, float]] = []
    sets: set[tuple[int, ...]] = set()
    for number in range(options["queries"]):
        wanted = tuple(
            sorted(
                a for kind in kinds for a in rng.choice(kind, _quota(kind, options), replace=False).tolist()
            )
        )
        queries.append((f"q{number}", _text(wanted, plain), _text(wanted, plain)))
        pool = _pool(rng, wanted, kinds, options)
        sets |= set(pool)
        qrels += [(f"q{number}", _text(given, names), float(len(set(given) & set(wanted)))) for given in pool]
    items = [(_text(given, names), _text(given, names), _text(given, names), None) for given in sorted(sets)]
    return Bundle(
        pl.DataFrame(items, schema=ITEMS, orient="row"),
        queries=pl.DataFrame(queries, schema=QUERIES, orient="row"),
        qrels=pl.DataFrame(qrels, schema=QRELS, orient="row"),
        location="drawn from a seed",
    )


def digest(task: Task, location: Path | None = None) -> str:
    """Over the options."""
    return refs.digest("synthetic", _options(task))


def _options(task: Task) -> dict[str, int]:
    options: dict[str, int] = files.options(task, DEFAULTS)
    options["candidates"] = max(options["candidates"], task.pool_size)
    attributes, chosen, synonyms = (options[name] for name in ("attributes", "chosen", "synonyms"))
    counts = options["seed"] >= 0 and min(options["queries"], attributes, chosen) >= 1
    whole = counts and 0 <= synonyms <= attributes and chosen * synonyms % attributes == 0
    hidden = chosen * synonyms // attributes if whole else 0
    possible = comb(attributes - synonyms, chosen - hidden) * comb(synonyms, hidden) if whole else 0
    if attributes < 2 * chosen or options["candidates"] > possible // 2:
        raise BadConfig(
            f"task {task.name}: options count from 1, attributes at least 2 × chosen, enough sets to choose"
            " from, and a whole number of synonyms in each (chosen × synonyms / attributes)",
            seen=str(task.options),
            remedy=(
                f"options are {', '.join(DEFAULTS)}; give more attributes, fewer candidates, or as many"
                " synonyms as make it whole"
            ),
        )
    return options


def _quota(kind: Sequence[int], options: dict[str, int]) -> int:
    """How many attributes of a kind every set has."""
    return options["chosen"] * len(kind) // options["attributes"]


def _pool(
    rng: np.random.Generator, wanted: tuple[int, ...], kinds: Sequence[Sequence[int]], options: dict[str, int]
) -> list[tuple[int, ...]]:
    """Distinct attribute sets, not all of the same overlap. (The candidates stage shuffles.)"""
    draw = _even if len(kinds) == 1 else _apart
    pool: list[tuple[int, ...]] = []
    while len({len(set(given) & set(wanted)) for given in pool}) < 2:
        pool = draw(rng, wanted, kinds, options)
    return pool


def _even(
    rng: np.random.Generator, wanted: tuple[int, ...], kinds: Sequence[Sequence[int]], options: dict[str, int]
) -> list[tuple[int, ...]]:
    """Overlaps drawn evenly; the first is at least 1 and the second 0."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < options["candidates"]:
        least, most = {0: (1, len(wanted)), 1: (0, 0)}.get(len(found), (0, len(wanted)))
        found[_set(rng, wanted, kinds, (int(rng.integers(least, most + 1)),), options)] = None
    return list(found)


def _apart(
    rng: np.random.Generator, wanted: tuple[int, ...], kinds: Sequence[Sequence[int]], options: dict[str, int]
) -> list[tuple[int, ...]]:
    """Overlaps drawn evenly and independently by kind.

    Few sets overlap much, and one alone has all that is wanted. Refused as a repetition, a full overlap in
    one kind would speak against one in the other. So a repetition is drawn anew with the same overlaps, and
    whether the one set is there is drawn first, as likely as it would be expected.
    """
    overlaps = list(product(*(range(_quota(kind, options) + 1) for kind in kinds)))
    room = {
        overlap: prod(_possible(kind, shared, options) for kind, shared in zip(kinds, overlap, strict=True))
        for overlap in overlaps
    }
    equal = overlaps.pop()
    drawn = [equal] if rng.random() < options["candidates"] / (len(overlaps) + 1) else []
    found: dict[tuple[int, ...], None] = {}
    while len(found) < options["candidates"]:
        if len(drawn) == len(found):
            free = [overlap for overlap in overlaps if drawn.count(overlap) < room[overlap]]
            drawn.append(free[int(rng.integers(len(free)))])
        found[_set(rng, wanted, kinds, drawn[-1], options)] = None
    return list(found)


def _possible(kind: Sequence[int], shared: int, options: dict[str, int]) -> int:
    """How many choices of a kind's attributes have so many of the wanted."""
    most = _quota(kind, options)
    return comb(most, shared) * comb(len(kind) - most, most - shared)


def _set(
    rng: np.random.Generator,
    wanted: tuple[int, ...],
    kinds: Sequence[Sequence[int]],
    overlap: Sequence[int],
    options: dict[str, int],
) -> tuple[int, ...]:
    """Attributes, as many of each kind as a set has, `overlap` of them (by kind) among the wanted."""
    given: list[int] = []
    for kind, shared in zip(kinds, overlap, strict=True):
        given += rng.choice([a for a in wanted if a in kind], shared, replace=False).tolist()
        given += rng.choice(
            [a for a in kind if a not in wanted], _quota(kind, options) - shared, replace=False
        ).tolist()
    return tuple(sorted(given))


def _renamed(options: dict[str, int]) -> list[int]:
    rng = np.random.default_rng(
        [options["seed"], options["synonyms"]]
    )  # its own: without synonyms the sets are what they were
    return rng.choice(options["attributes"], options["synonyms"], replace=False).tolist()


def _names(options: dict[str, int], renamed: Sequence[int]) -> list[str]:
    """What each attribute is called in a candidate: its own name, or one (b…) that says nothing of it."""
    names = [f"a{a}" for a in range(options["attributes"])]
    for number, attribute in enumerate(renamed):
        names[attribute] = f"b{number}"
    return names


def _text(attributes: Sequence[int], names: Sequence[str]) -> str:
    return " ".join(names[a] for a in attributes)
