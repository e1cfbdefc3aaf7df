"""`ranker rank`: one request, in the caller's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ranker.errors import BadConfig, BadModel, BadSource
from ranker.serving.rank_request import rank
from tests.ranker.engines.models import tiny

REQUEST: dict[str, Any] = {
    "task": "synthetic",
    "query": "a1 a2",
    "candidates": [{"id": "x", "text": "a1 a3"}, {"id": "y", "text": "a1 a2"}, {"id": "z"}],
}


@pytest.mark.parametrize(("how", "calls"), [("iterative", 2), ("direct", 1)])
def test_candidates_come_back_under_the_callers_ids(tmp_path: Path, how: Any, calls: int) -> None:
    answer = rank(REQUEST, tiny(tmp_path / "model"), how=how, thinking=False, constrained=True)
    assert sorted(item["id"] for item in answer["ranking"]) == ["x", "y", "z"]
    assert {item["id"]: item["text"] for item in answer["ranking"]}["z"] == "z", "an id stands for its text"
    assert answer["valid"] and answer["calls"] == len(answer["steps"]) == calls
    assert set(answer["steps"][0]["pool"]) == {"x", "y", "z"} == set(answer["labels"].values())
    assert all(set(step["action"]) <= set(step["pool"]) for step in answer["steps"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"candidates": [{"id": "x"}]}, "candidates"),
        ({"candidates": [{"id": "x"}, {"id": "x"}]}, "distinct"),
        ({"candidates": [{"id": ""}, {"id": "x"}]}, r"candidates\.0\.id"),
        ({"queries": "a1"}, "queries"),
    ],
)
def test_what_is_no_request_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSource, match=says):
        rank(REQUEST | change, tmp_path)


def test_task_and_model_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="nonsense"):
        rank(REQUEST | {"task": "nonsense"}, tmp_path)
    with pytest.raises(BadModel):
        rank(REQUEST, tmp_path)
