"""Readers of routing data: GraphRouter's table, LLMRouter's questions and prices, and the objective that
both grade by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.config import Task
from ranker.datasets import readers
from ranker.datasets._routing import LEVELS, grade, price_levels
from ranker.errors import BadConfig

HEADER = "task_id,query,query_embedding,ground_truth,metric,llm,response,effect,cost\n"


def _task(**options: Any) -> Task:
    return Task(
        name="routes", scenario="routing", reader="graphrouter", pool_size=2, wording="Rank.", options=options
    )


def _rows(*rows: tuple[str, str, object, object]) -> str:
    return "".join(
        f'squad,"{query}","[0.1, 0.2]",x,f1,{llm},"said, so",{effect},{cost}\n'
        for query, llm, effect, cost in rows
    )


TWO = _rows(
    ("Why?", "small", 0.5, 0.1), ("Why?", "large", 1.0, 2.0), ("How?", "small", 1, 0), ("How?", "large", 1, 1)
)


def _folder(folder: Path, rows: str = TWO, header: str = HEADER, described: object = None) -> Path:
    (folder / "router_data.csv").write_text(header + rows, encoding="utf-8")
    if described is not None:
        (folder / "llm_descriptions.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_better_objective_is_never_graded_lower(
    weight: float, e1: float, c1: float, e2: float, c2: float
) -> None:
    def objective(effect: float, cost: float) -> float:
        return weight * effect - (1 - weight) * cost

    one, two = grade(e1, c1, weight, 100), grade(e2, c2, weight, 100)
    assert 0 <= one <= 100 and one == int(one)
    if objective(e1, c1) > objective(e2, c2) + 1e-9:
        assert one >= two


@pytest.mark.parametrize(
    "options", [{"effect_weight": 1.5}, {"grades": 0}, {"grades": 5000}, {"weight": 1}, {"grades": "many"}]
)
def test_a_wrong_objective_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig):
        readers.read(_task(**options), _folder(tmp_path))


def test_levels_follow_the_prices_and_equal_prices_have_one() -> None:
    assert price_levels({"a": 1, "b": 2, "c": 2, "d": 3}) == {
        "a": LEVELS[0],
        "b": LEVELS[2],
        "c": LEVELS[2],
        "d": LEVELS[4],
    }
    assert price_levels({"a": 1, "b": 1}) == {"a": "moderate", "b": "moderate"}
