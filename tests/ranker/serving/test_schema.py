"""What a request becomes for a strategy, and what a ranking becomes for a client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.policy.prompts import Style
from ranker.serving.schema import By, Refusal, Rerank, answer, candidate_set, read, scores
from ranker.serving.settings import Bounds
from ranker.strategies import likelihood, strategy
from ranker.types import CandidateSet
from tests.ranker.factories import make_set, oracle


class Known:
    """A likelihood policy whose scores are given, as candidates are shown."""

    name, style = "known", "likelihood"

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.style: Style = "likelihood"

    def complete(self, prompts: object, sampling: object) -> list:
        raise AssertionError("nothing is written")

    def score_pools(self, sets: Sequence[CandidateSet]) -> list[likelihood.Scores]:
        return [likelihood.Scores(dict(zip(one.labels, self.values, strict=True)), 0.5) for one in sets]


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


def test_a_history_has_ids_beside_its_titles() -> None:
    history = ["Heat", {"text": "Ran", "id": 7}, {"text": "Alien"}]
    given = candidate_set(request(task="rec-movie", query="", history=history), "r")
    assert (given.query, given.query_items) == ("Heat; Ran; Alien", ("Heat", "7", "Alien"))
    with pytest.raises(Refusal, match="history"):
        request(task="rec-movie", query="", history=[{"id": 7}])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-20, 0), min_size=1, max_size=7),
    st.floats(0.01, 5),
    st.floats(-5, 5),
    st.sampled_from(["iterative", "direct", "first-token", "window:size=3,step=1", "setwise"]),
)
def test_a_likelihood_policy_s_relevance_never_rises_where_its_score_falls(
    values: list[float], slope: float, offset: float, way: str
) -> None:
    given_set = make_set([0.0] * len(values))
    name = way if len(values) > 1 else "direct"
    (episode,) = strategy(name)([given_set], Known(values), thinking=False, sampling=Sampling(8))
    by_score = sorted(given_set.labels, key=lambda label: -values[given_set.labels.index(label)])
    for calibration, kind in (((slope, offset), "calibrated"), (None, "softmax")):
        found = scores(episode, calibration)
        shown = [found.by_label[label] for label in by_score]
        assert (
            found.kind == kind
            and shown == sorted(shown, reverse=True)
            and set(found.by_label) == set(given_set.labels)
        )
        assert all(0 <= value <= 1 for value in shown)
    assert sum(scores(episode).by_label.values()) == pytest.approx(1)


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
