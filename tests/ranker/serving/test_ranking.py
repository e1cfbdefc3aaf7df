"""One batch of requests by the model that serves."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ranker.engines.likelihood import LikelihoodEngine
from ranker.metrics.calibration import probability
from ranker.serving.schema import candidate_set, read
from ranker.serving.settings import Bounds, How, Settings
from ranker.strategies import strategy
from ranker.strategies.likelihood import score_pools
from tests.ranker.serving.running import CALIBRATION, HOW, Running, in_thread, is_permutation, question


def test_greedy_answers_are_the_same_whoever_asks_beside(server: Running) -> None:
    alone = [server.post(question(5, seed)).json()["results"] for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = [
            response.json()["results"]
            for response in pool.map(lambda seed: server.post(question(5, seed)), range(8))
        ]
    assert together == alone


def test_probabilities_are_scores_where_one_call_scored_all(model_home: Path, settings: Settings) -> None:
    for way in ("first-token", "first-token:mode=rank"):
        with in_thread(model_home, replace(settings, how=How(strategy(way), False))) as running:
            answered = running.post(question(5)).json()
        scores = [result["relevance_score"] for result in answered["results"]]
        assert answered["meta"]["score"] == "probability" and is_permutation(answered, 5)
        assert sum(scores) == pytest.approx(1.0 if "rank" in way else 4.0, abs=1e-4), (
            "n − 1 where each is 1 − P(excluded)"
        )


def test_a_likelihood_policy_s_score_is_the_document_s_own_probability(likely: tuple[Path, Running]) -> None:
    """Calibrated, monotone in the model's score, and the same whatever else is in the pool."""
    folder, server = likely
    asked = question(6)
    answered = server.post(asked).json()
    given = candidate_set(read(json.dumps(asked).encode(), Bounds(), "synthetic"), "any")
    (own,) = score_pools([given], LikelihoodEngine(folder))
    by_index = dict(enumerate(own.by_label.values()))
    got = {result["index"]: result["relevance_score"] for result in answered["results"]}
    assert list(got) == sorted(by_index, key=lambda index: -by_index[index])
    assert got == pytest.approx({i: probability(s, CALIBRATION) for i, s in by_index.items()}, abs=1e-3)
    assert min(got.values()) < max(got.values()) - 0.05, "or the test would see nothing"
    pair = {"query": asked["query"], "documents": [asked["documents"][4], asked["documents"][1]]}
    other = {result["index"]: result["relevance_score"] for result in server.post(pair).json()["results"]}
    assert other == pytest.approx({0: got[4], 1: got[1]}, abs=1e-3)


def test_without_a_calibration_scores_are_the_softmax_over_the_pool(likely: tuple[Path, Running]) -> None:
    answered = likely[1].post({**question(5), "task": "passage-pydoc"}).json()
    scores = [result["relevance_score"] for result in answered["results"]]
    assert answered["meta"]["score"] == "softmax" and is_permutation(answered, 5)
    assert sum(scores) == pytest.approx(1)


def test_reasoning_is_asked_of_models_that_can_and_refused_of_those_that_cannot(
    likely: tuple[Path, Running], server: Running, settings: Settings
) -> None:
    shown = server.post({**question(3), "reasons": True}).json()["reasons"][0]
    assert server.post(question(3)).json()["usage"]["completion_tokens"] > 0 and shown["completion"]
    assert likely[1].post(question(3)).json()["usage"]["completion_tokens"] == 0
    insisting = replace(settings, model=str(likely[0]), how=replace(HOW, thinking=True))
    with in_thread(likely[0].parents[2], insisting) as running:
        for n in (3, 1):
            refused = running.post(question(n))
            assert refused.status_code == 422 and "reasoning" in refused.json()["message"]


def test_what_does_not_fit_the_model_spoils_no_other_request(model_home: Path, settings: Settings) -> None:
    with (
        in_thread(model_home, replace(settings, bounds=Bounds(702, 9_000, 90_000))) as running,
        ThreadPoolExecutor(8) as pool,
    ):
        sizes = [5, 5, 200, 5, 5, 200, 5, 5]
        answers = list(pool.map(lambda n: running.post(question(n)), sizes))
    assert [answer.status_code for answer in answers] == [413 if n == 200 else 200 for n in sizes]
    assert "context" in answers[2].json()["message"]
