"""`ranker rank`: one request, in the caller's own terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ranker.errors import BadConfig, BadModel, BadSource
from ranker.serving.rank_request import rank
from tests.ranker.engines.models import tiny
from tests.ranker.material import tiny_lm
from tests.ranker.serving.awkward import AWKWARD
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
        ({"candidates": []}, "candidates"),
        ({"candidates": [{"id": "x"}, {"id": "x"}]}, "'x' stands there twice"),
        ({"candidates": [{"id": 0}, {"id": "0"}]}, "'0' stands there twice"),
        ({"candidates": [{"id": "x", "text": {"a": 1}}, {"id": "y"}]}, r"candidates\.0\.text"),
        ({"candidates": [{"id": True}, {"id": "y"}]}, r"candidates\.0\.id"),
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


@pytest.mark.parametrize("text", AWKWARD)
def test_a_candidate_as_people_send_it_is_ranked(folders: tuple[Path, Path], text: str) -> None:
    document = AWKWARD[text]
    given = {"text": document} if isinstance(document, str) else document
    candidates = [
        {"id": 0, "text": "a1"},
        {"id": given.get("id", "y"), "text": given.get("text")},
        {"id": "z"},
    ]
    for folder in folders:
        answer = rank({"task": "synthetic", "query": "a1", "candidates": candidates}, folder, how="direct")
        assert {item["id"] for item in answer["ranking"]} == {"0", str(given.get("id", "y")), "z"}
        assert json.dumps(answer, allow_nan=False).isascii() and answer["mended"] == (text == "NUL")


def test_a_single_candidate_is_ranked_without_a_question_unless_it_can_be_scored(
    folders: tuple[Path, Path],
) -> None:
    payload = {"task": "synthetic", "query": "a1", "candidates": [{"id": "x", "text": "a2"}]}
    written, likely = (rank(payload, folder) for folder in folders)
    for answer in (written, likely):
        assert [item["id"] for item in answer["ranking"]] == ["x"] and answer["strategy"] == "iterative"
    assert (written["calls"], likely["calls"]) == (0, 1)


def test_lone_surrogates_are_mended_and_counted(folders: tuple[Path, Path]) -> None:
    payload = json.loads(
        '{"task": "synthetic", "query": "a1 \\ud800", "candidates": [{"id": "\\udc00"}, {"id": "y"}]}'
    )
    for folder in folders:
        answer = rank(payload, folder, how="direct")
        assert answer["mended"] == 1 and {item["id"] for item in answer["ranking"]} == {"\ufffd", "y"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy that writes, and one that scores."""
    home = tmp_path_factory.mktemp("models")
    return tiny(home / "tiny", context=256), tiny_lm(home / "lm")
