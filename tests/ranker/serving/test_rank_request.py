"""`ranker rank`: one request, in the caller's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ranker.errors import BadConfig, BadModel, BadSource
from ranker.serving.rank_request import rank
from tests.ranker.engines.models import tiny
from tests.ranker.serving.running import Running, question

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


def test_a_likelihood_policy_ranks_without_reasoning_as_the_server_does(likely: tuple[Path, Running]) -> None:
    folder, server = likely
    asked = question(6)
    candidates = [{"id": f"{i}", "text": text} for i, text in enumerate(asked["documents"])]
    payload = {"task": "synthetic", "query": asked["query"], "candidates": candidates}
    served = [str(result["index"]) for result in server.post(asked).json()["results"]]
    for how, calls in (("iterative", 5), ("direct", 1)):
        answer = rank(payload, folder, how=how)
        assert [item["id"] for item in answer["ranking"]] == served
        assert not answer["thinking"] and answer["valid"] and answer["calls"] == calls
        first = answer["steps"][0]
        scores = dict(zip(first["pool"], first["log_likelihoods"], strict=True))
        assert sorted(scores, key=lambda one: -scores[one]) == served and first["temperature"] == 0.5
    with pytest.raises(BadConfig, match="writes no reasoning"):
        rank(payload, folder, thinking=True)


def test_a_history_of_ids_and_titles_reads_as_one_of_titles(likely: tuple[Path, Running]) -> None:
    films = [{"id": "x", "text": "a1 (1995)"}, {"id": "y", "text": "a2 b2 (1996)"}]
    payload = {"task": "rec-movie", "candidates": films}
    titles = [{"id": "7", "text": "a3 b3"}, "a4 b4"]
    answers = [
        rank(payload | given, likely[0], how="direct")["steps"]
        for given in ({"history": titles}, {"history": ["a3 b3", "a4 b4"]}, {"query": "a3 b3; a4 b4"})
    ]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"candidates": [{"id": "x"}]}, "candidates"),
        ({"candidates": [{"id": "x"}, {"id": "x"}]}, "distinct"),
        ({"candidates": [{"id": ""}, {"id": "x"}]}, r"candidates\.0\.id"),
        ({"queries": "a1"}, "queries"),
        ({"history": [{"id": "7"}]}, "history"),
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
