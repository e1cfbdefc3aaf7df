"""The compressor, where LangChain itself calls it."""

from __future__ import annotations

import asyncio

import pytest

from ranker import Ranker

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from pydantic import ValidationError

from ranker.adapters.langchain import R1Rerank
from tests.ranker.serving.running import question

QUERY, TEXTS = question(6)["query"], question(6)["documents"]


def test_documents_are_kept_in_the_rankers_order_with_their_scores(ranker: Ranker) -> None:
    documents = [Document(text, metadata={"page": i}, id=f"d{i}") for i, text in enumerate(TEXTS)]
    compressor = R1Rerank(ranker=ranker, top_n=3)
    kept = compressor.compress_documents(documents, QUERY)
    found = ranker.rank(QUERY, TEXTS, top_k=3)
    assert [(one.id, one.page_content) for one in kept] == [(f"d{one.index}", one.text) for one in found]
    assert [one.metadata for one in kept] == [
        {"page": one.index, "relevance_score": pytest.approx(one.score)} for one in found
    ]
    assert documents[0].metadata == {"page": 0}, "what was retrieved stays as it was"
    assert asyncio.run(compressor.acompress_documents(documents, QUERY)) == kept
    assert compressor.compress_documents([], QUERY) == []


def test_a_field_that_is_none_is_refused(ranker: Ranker) -> None:
    with pytest.raises(ValidationError):
        R1Rerank(ranker=ranker, top_k=3)
