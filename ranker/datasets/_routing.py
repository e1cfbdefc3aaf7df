"""What the routing readers share: the objective, and what of it an LLM's text tells.

With effect and cost in [0, 1] (cost: over the dearest one's), the objective is w × effect − (1 − w) × cost.
Shifted by 1 − w and scaled it is a whole grade from 0 to `grades`, so that trec_eval can read it: the order
is the objective's, and equal values stay ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ranker.config import Task
from ranker.datasets.files import options
from ranker.errors import BadConfig
from ranker.types import JsonObject

DEFAULTS = {"effect_weight": 1.0, "grades": 10}
LEVELS = ("cheapest", "cheap", "moderate", "expensive", "dearest")


def objective(task: Task) -> tuple[float, int]:
    """Weight of the effect (w) and the highest grade, from the task's options.

    Raises:
        BadConfig: w is outside [0, 1], or grades outside 1 to 1,000.
    """
    chosen: JsonObject = options(task, DEFAULTS)
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
