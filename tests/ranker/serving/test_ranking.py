"""One batch of requests by the model that serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ranker.serving.ranking import How
from ranker.serving.schema import Bounds
from ranker.serving.server import Settings
from ranker.strategies import strategy
from tests.ranker.serving.running import Running, in_thread, is_permutation, question


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


def test_what_does_not_fit_the_model_spoils_no_other_request(model_home: Path, settings: Settings) -> None:
    with (
        in_thread(model_home, replace(settings, bounds=Bounds(702, 9_000, 90_000))) as running,
        ThreadPoolExecutor(8) as pool,
    ):
        sizes = [5, 5, 200, 5, 5, 200, 5, 5]
        answers = list(pool.map(lambda n: running.post(question(n)), sizes))
    assert [answer.status_code for answer in answers] == [413 if n == 200 else 200 for n in sizes]
    assert "context" in answers[2].json()["message"]
