"""The server's answer as values: documents by rank, and what the model wrote of each."""

from __future__ import annotations

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.library.results import Result, results
from ranker.serving.schema import By, candidate_set, validated
from ranker.serving.settings import Bounds
from ranker.strategies import strategy
from tests.ranker.factories import oracle

SENT = {"query": "a1", "documents": ["x", {"text": "y", "id": 7}, "z"], "task": "synthetic"}


def test_documents_come_back_by_rank_with_what_was_written_of_them() -> None:
    request = validated(SENT, Bounds(), "")
    given = candidate_set(request, "r")
    (episode,) = strategy("iterative")([given], ScriptedEngine(oracle), thinking=True, sampling=Sampling(64))
    found = results(request, given, episode, By("m:1"))
    place = {label: number for number, label in enumerate(given.labels)}
    assert [one.index for one in found] == [place[label] for label in episode.ranking]
    assert [one.rank for one in found] == [1, 2, 3] and [one.score for one in found] == [1.0, 0.5, 0.0]
    assert {one.id: one.text for one in found} == {"0": "x", "7": "y", "2": "z"}
    # elimination: the last two were named by a call each, the first by none
    assert [len(one.reasons) for one in found] == [0, 1, 1]
    assert found[2].reasons == (episode.steps[0].completion,) and "<think>" in found[2].reasons[0]
    assert (found.kind, found.model, found.task, found.strategy) == ("place", "m:1", "synthetic", "iterative")
    assert found.calls == 2 and found.invalid_calls == 0 and found.tokens > 0
    assert isinstance(found[0], Result) and found[1:] == tuple(found)[1:] and len(found) == 3


def test_only_the_best_are_given() -> None:
    request = validated({**SENT, "top_n": 1}, Bounds(), "")
    given = candidate_set(request, "r")
    (episode,) = strategy("direct")([given], ScriptedEngine(oracle), thinking=True, sampling=Sampling(64))
    (best,) = results(request, given, episode, By("m:1"))
    assert best.rank == 1 and best.reasons == (episode.steps[0].completion,)
