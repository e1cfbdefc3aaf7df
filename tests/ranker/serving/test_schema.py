"""What a request becomes for a strategy, and what a ranking becomes for a client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.serving.schema import Bounds, By, Refusal, Rerank, answer, candidate_set, read, scores
from ranker.strategies import strategy
from tests.ranker.factories import oracle


def request(**given: Any) -> Rerank:
    return read(json.dumps({"query": "a1", "documents": ["x", "y"]} | given).encode(), Bounds(), "synthetic")


def test_documents_are_labelled_as_sent_and_nobody_has_judged_them() -> None:
    given = candidate_set(request(documents=["x", {"text": "y", "id": 7}, {"text": "x"}]), "r")
    assert [(c.label, c.item_id, c.text, c.relevance) for c in given.candidates] == [
        ("A", "0", "x", 0.0),
        ("B", "7", "y", 0.0),
        ("C", "2", "x", 0.0),
    ]
    assert (given.set_id, given.task, given.query) == ("r", "synthetic", "a1")


@pytest.mark.parametrize(("query", "words"), [("", "Heat; Ran"), ("two films", "two films")])
def test_a_history_is_the_query_where_none_says_it_in_words(query: str, words: str) -> None:
    asked = request(task="rec-movie", query=query, history=["Heat", "Ran"], documents=["17", {"id": "23"}])
    given = candidate_set(asked, "r")
    assert [(c.item_id, c.text) for c in given.candidates] == [("0", "17"), ("23", "23")]
    assert (given.query, given.query_items) == (words, ("Heat", "Ran"))


def test_fields_to_rank_by_are_told_by_name() -> None:
    asked = request(
        documents=[{"title": "T", "year": 1995}, {"title": "U", "year": 2001}], rank_fields=["title", "year"]
    )
    assert asked.texts == ["title: T\nyear: 1995", "title: U\nyear: 2001"]
    assert request(documents=[{"title": "T"}, {"title": "U"}], rank_fields=["title"]).texts == ["T", "U"]
    with pytest.raises(Refusal, match="rank_fields"):
        request(documents=[{"title": "T"}, "U"], rank_fields=["body"])


def test_a_task_is_needed_from_client_or_server() -> None:
    with pytest.raises(Refusal, match="--task"):
        read(b'{"query": "q", "documents": ["x", "y"]}', Bounds(), "")


def test_places_are_scores_whatever_the_strategy() -> None:
    asked = request(documents=["x", "y", "z"], reasons=True)
    given = candidate_set(asked, "r")
    for name in ("iterative", "direct", "setwise"):
        (episode,) = strategy(name)([given], ScriptedEngine(oracle), thinking=True, sampling=Sampling(64))
        shown = answer(asked, given, episode, By("m:1", "1"))
        assert scores(episode).kind == shown["meta"]["score"] == "place"
        assert [result["relevance_score"] for result in shown["results"]] == [1.0, 0.5, 0.0]
        assert [given.labels[result["index"]] for result in shown["results"]] == list(episode.ranking)
        assert (
            len(shown["reasons"]) == shown["meta"]["calls"] == len(episode.steps)
            and shown["meta"]["strategy"] == name
        )
        assert json.loads(json.dumps(shown)) == shown
