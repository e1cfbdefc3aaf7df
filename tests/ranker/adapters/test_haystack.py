"""The component, in a pipeline of Haystack's."""

from __future__ import annotations

import asyncio

import pytest

from ranker import Ranker

pytest.importorskip("haystack")

from haystack import Document, Pipeline

from ranker.adapters.haystack import R1Ranker
from tests.ranker.serving.running import question

QUERY, TEXTS = question(6)["query"], question(6)["documents"]


def test_documents_are_kept_in_the_rankers_order_with_their_scores(ranker: Ranker) -> None:
    documents = [Document(id=f"d{i}", content=text, meta={"page": i}) for i, text in enumerate(TEXTS)]
    pipeline = Pipeline()
    pipeline.add_component("ranker", R1Ranker(ranker, top_k=3))
    kept = pipeline.run({"ranker": {"query": QUERY, "documents": documents}})["ranker"]["documents"]
    found = ranker.rank(QUERY, TEXTS, top_k=3)
    assert [(one.id, one.content, one.score, one.meta) for one in kept] == [
        (f"d{one.index}", one.text, pytest.approx(one.score), {"page": one.index}) for one in found
    ]
    assert documents[0].score is None
    component = R1Ranker(ranker)
    assert component.run(QUERY, documents, top_k=3)["documents"] == kept
    assert asyncio.run(component.run_async(QUERY, documents, top_k=3))["documents"] == kept
    assert component.run(QUERY, [])["documents"] == []
    with pytest.raises(ValueError, match="no text"):
        component.run(QUERY, [Document(id="x", meta={"only": "this"})])
