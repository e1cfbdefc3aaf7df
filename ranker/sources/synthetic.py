"""Set matching with known relevance, for tests: a query is k of m attributes, a candidate is worth its overlap with it.

Options: queries, attributes (m), chosen (k), candidates (given per query), seed. Overlaps are drawn evenly from
0 to k, and every query has a candidate of overlap at least 1 and one of less than that.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.errors import BadConfig
from ranker.sources import ITEMS, QRELS, QUERIES, Bundle

DEFAULTS = {"queries": 400, "attributes": 12, "chosen": 3, "candidates": 8, "seed": 0}


def read(task: Task, location: Path | None = None) -> Bundle:
    """Queries with `candidates` judged attribute sets each (or as many as the task's pool wants); `location` is not used.

    Raises:
        BadConfig: an option is unknown, or there are fewer attribute sets than candidates.
    """
    options = _options(task)
    rng = np.random.default_rng(options["seed"])
    queries, qrels, sets = [], [], set()
    for number in range(options["queries"]):
        wanted = _draw(rng, options["attributes"], options["chosen"])
        queries.append((f"q{number}", _text(wanted), _text(wanted)))
        pool = _pool(rng, wanted, options)
        sets |= set(pool)
        qrels += [(f"q{number}", _text(given), float(len(set(given) & set(wanted)))) for given in pool]
    items = [(_text(given), _text(given), _text(given), None) for given in sorted(sets)]
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
    unknown = set(task.options) - set(DEFAULTS)
    options = {**DEFAULTS, **task.options}
    options["candidates"] = max(options["candidates"], task.pool_size)
    possible = comb(options["attributes"], options["chosen"])
    if unknown or options["attributes"] < 2 * options["chosen"] or options["candidates"] > possible // 2:
        raise BadConfig(
            f"task {task.name}: known options, attributes at least 2 × chosen, and enough sets to choose from",
            seen=str(task.options),
            remedy=f"options are {', '.join(DEFAULTS)}; give more attributes, or fewer candidates",
        )
    return options


def _draw(rng: np.random.Generator, attributes: int, chosen: int) -> tuple[int, ...]:
    return tuple(sorted(rng.choice(attributes, chosen, replace=False).tolist()))


def _pool(rng: np.random.Generator, wanted: tuple[int, ...], options: dict[str, int]) -> list[tuple[int, ...]]:
    """Distinct attribute sets; the first overlaps by at least 1 and the second by nothing. (The candidates stage shuffles.)"""
    others = [a for a in range(options["attributes"]) if a not in wanted]
    found: dict[tuple[int, ...], None] = {}
    while len(found) < options["candidates"]:
        least, most = {0: (1, len(wanted)), 1: (0, 0)}.get(len(found), (0, len(wanted)))
        overlap = int(rng.integers(least, most + 1))
        kept = rng.choice(wanted, overlap, replace=False).tolist()
        found[tuple(sorted([*kept, *rng.choice(others, len(wanted) - overlap, replace=False).tolist()]))] = None
    return list(found)


def _text(attributes: tuple[int, ...]) -> str:
    return " ".join(f"a{a}" for a in attributes)
