"""For `rerankers`: a ranker beside its own."""

from __future__ import annotations

from typing import cast

from ranker.adapters.extras import needed
from ranker.library import Ranker

with needed("rerankers", "rerankers"):
    from rerankers.documents import Document
    from rerankers.models.ranker import BaseRanker
    from rerankers.results import RankedResults, Result
    from rerankers.utils import prep_docs


class R1Ranker(BaseRanker):
    """All documents, best first, with the ranker's scores.

    Args:
        task: as of Ranker.rank.
    """

    def __init__(self, ranker: Ranker, task: str = "") -> None:
        self.ranker, self.task = ranker, task

    def rank(
        self,
        query: str,
        docs: str | Document | list[str] | list[Document],
        doc_ids: list[str] | list[int] | None = None,
        metadata: list[dict] | None = None,
    ) -> RankedResults:
        """As the base class has it. Raises as Ranker.rank."""
        if not docs:
            return RankedResults([], query, has_scores=True)
        given = cast("list[Document]", prep_docs(docs, doc_ids, metadata))
        texts = [one.text for one in given if one.text is not None]
        if len(texts) < len(given):
            raise ValueError("Some documents have no text; R1Ranker ranks texts alone.")
        found = self.ranker.rank(query, texts, top_k=None, task=self.task)
        return RankedResults(
            [Result(given[one.index], one.score, one.rank) for one in found], query, has_scores=True
        )

    def score(self, query: str, doc: str) -> float:
        """Of one document. What it says is in `Results.kind`: by itself only a calibrated score says
        anything.
        """
        (found,) = self.ranker.rank(query, [doc], task=self.task)
        return found.score
