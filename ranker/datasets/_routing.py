"""What the routing readers share: the objective, and what of it an LLM's text tells.

With effect and cost in [0, 1] (cost: over the dearest one's), the objective is w × effect − (1 − w) × cost.
Shifted by 1 − w and scaled it is a whole grade from 0 to `grades`, so that trec_eval can read it: the order
is the objective's, and equal values stay ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ranker import refs
from ranker.config import Task
from ranker.datasets.bundle import ITEMS, QRELS, QUERIES, Bundle
from ranker.datasets.files import one_group, options, present
from ranker.errors import BadConfig, BadSource
from ranker.types import Fields, JsonObject

DEFAULTS: JsonObject = {"effect_weight": 1.0, "grades": 10}
DEAREST = 1e12
"""Above it a price is none, and a sum of two may not be a number."""
LEVELS = ("cheapest", "cheap", "moderate", "expensive", "dearest")


@dataclass(frozen=True, slots=True)
class Answer:
    """One row: what an LLM's answer to a query was worth (0 to 1) and cost."""

    row: int
    query: str
    llm: str
    effect: float
    cost: float


def objective(task: Task, chosen: Fields | None = None) -> tuple[float, int]:
    """Weight of the effect (w) and the highest grade, from the task's options, or from these.

    Raises:
        BadConfig: w is outside [0, 1], or grades outside 1 to 1,000.
    """
    chosen = options(task, DEFAULTS) if chosen is None else chosen
    weight, grades = float(chosen["effect_weight"]), int(chosen["grades"])
    if not 0 <= weight <= 1 or not 1 <= grades <= 1_000:
        raise BadConfig(
            f"task {task.name}: effect_weight lies in 0 to 1 and grades in 1 to 1,000",
            seen=f"effect_weight {weight:g}, grades {grades}",
            remedy="mend the task's options: 1.0 asks for performance, 0.5 for balance, 0.2 for cost",
        )
    return weight, grades


def grade(effect: float, cost: float, weight: float, grades: int) -> float:
    """The whole grade of one answer; effect and cost in [0, 1]."""
    return float(round(grades * (weight * effect + (1 - weight) * (1 - cost))))


def price_levels(prices: Mapping[str, float]) -> dict[str, str]:
    """A word for each price, by its place among the distinct prices: compact prompts show no figures."""
    distinct = sorted(set(prices.values()))
    return {name: _level(distinct, price) for name, price in prices.items()}


def _level(distinct: Sequence[float], price: float) -> str:
    if len(distinct) == 1:
        return LEVELS[2]
    return LEVELS[round(distinct.index(price) / (len(distinct) - 1) * (len(LEVELS) - 1))]


def bundle(
    task: Task,
    path: Path,
    answers: Sequence[Answer],
    described: Mapping[str, str],
    chosen: Fields | None = None,
) -> Bundle:
    """Queries, LLMs and a graded judgement of every answer; queries that read alike are one group. Costs are
    divided by the largest.

    Args:
        path: of the answers, for an error.
        described: what is said of an LLM; without it its text is its name.
        chosen: the objective's options, where the reader has others beside them.

    Raises:
        BadSource: there is no answer, an LLM has no name, or an answer is given twice.
        BadConfig: the objective is out of range.
    """
    weight, grades = objective(task, chosen)
    _require_each(path, answers)
    dearest = max(answer.cost for answer in answers) or 1.0
    rows = [(refs.digest(a.query), a.llm, grade(a.effect, a.cost / dearest, weight, grades)) for a in answers]
    ids = {refs.digest(a.query): a.query for a in answers}
    return Bundle(
        _items(answers, described, priced=weight < 1),
        queries=pl.DataFrame(list(ids.items()), schema=["query_id", "text"], orient="row")
        .select("query_id", one_group(), "text")
        .select(list(QUERIES)),
        qrels=pl.DataFrame(rows, schema=QRELS, orient="row"),
        location=str(path.parent),
    )


def _require_each(path: Path, answers: Sequence[Answer]) -> None:
    if not answers:
        raise BadSource(
            "a source file must hold rows",
            seen=f"{path} has a header and nothing else",
            remedy="fetch or export it again",
        )
    named = [(answer.row, answer.llm) for answer in answers]
    present(path, pl.DataFrame(named, schema={"row": pl.Int64, "llm": pl.String}, orient="row"), "llm")
    first: dict[tuple[str, str], int] = {}
    for answer in answers:
        if first.setdefault((answer.query, answer.llm), answer.row) != answer.row:
            raise BadSource(
                "an llm must answer a query once",
                seen=(
                    f"{path}, row {answer.row}: {answer.llm} again, first in row"
                    f" {first[answer.query, answer.llm]}"
                ),
                remedy="drop one of the rows",
            )


def _items(answers: Sequence[Answer], described: Mapping[str, str], *, priced: bool) -> pl.DataFrame:
    """LLMs by name; where cost counts, the text says how dear an LLM's mean answer is."""
    costs: dict[str, list[float]] = {}
    for answer in answers:
        costs.setdefault(answer.llm, []).append(answer.cost)
    levels = price_levels({llm: sum(paid) / len(paid) for llm, paid in costs.items()}) if priced else {}
    rows = [(llm, llm, _text(llm, levels.get(llm), described.get(llm)), None) for llm in sorted(costs)]
    return pl.DataFrame(rows, schema=ITEMS, orient="row")


def _text(llm: str, level: str | None, said: str | None) -> str:
    named = f"{llm}, {level}" if level else llm
    return f"{named}: {said}" if said else named
