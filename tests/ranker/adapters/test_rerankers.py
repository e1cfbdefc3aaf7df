"""The ranker, as the library `rerankers` calls its own."""

from __future__ import annotations

import asyncio

import pytest

from ranker import Ranker

pytest.importorskip("rerankers")

from rerankers import Document
from rerankers.results import RankedResults

from ranker.adapters.rerankers import R1Ranker
from tests.ranker.serving.running import question

QUERY, TEXTS = question(6)["query"], question(6)["documents"]


def shown(found: RankedResults) -> list[tuple]:
    return [(one.doc_id, one.text, one.rank) for one in found]


def test_all_documents_come_back_in_order_with_scores_under_their_ids(ranker: Ranker) -> None:
    made, found = R1Ranker(ranker), ranker.rank(QUERY, TEXTS, top_k=None)
    ranked = made.rank(QUERY, TEXTS)
    assert shown(ranked) == [(one.index, one.text, one.rank) for one in found]
    assert ranked.has_scores and [one.score for one in ranked] == pytest.approx([one.score for one in found])
    assert [one.doc_id for one in ranked.top_k(2)] == [one.index for one in found[:2]]
    named = made.rank(QUERY, TEXTS, doc_ids=[f"d{i}" for i in range(6)])
    documents = made.rank(QUERY, [Document(text, f"d{i}") for i, text in enumerate(TEXTS)])
    assert shown(named) == shown(documents) == [(f"d{one.index}", one.text, one.rank) for one in found]
    assert shown(asyncio.run(made.rank_async(QUERY, TEXTS))) == shown(ranked)
    assert made.rank(QUERY, []).results == []
    with pytest.raises(ValueError, match="no text"):
        made.rank(QUERY, [Document(document_type="image", image_path="x.png")])


def test_a_document_by_itself_has_its_calibrated_score(ranker: Ranker) -> None:
    found = ranker.rank(QUERY, TEXTS)
    assert R1Ranker(ranker).score(QUERY, found[0].text) == pytest.approx(found[0].score, abs=1e-3)
