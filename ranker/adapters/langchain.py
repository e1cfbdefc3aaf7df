"""For LangChain: a document compressor, for example of a ContextualCompressionRetriever."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, Field

from ranker.adapters.extras import needed
from ranker.library import Ranker, Results

with needed("langchain_core", "langchain"):
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document


class R1Rerank(BaseDocumentCompressor):
    """Keeps the best documents, best first, each a copy with `relevance_score` in its metadata."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    ranker: Ranker
    top_n: int | None = Field(default=10, description="Documents that are kept; None for all.")
    task: str = Field(default="", description="As of Ranker.rank.")

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As the base class has it. Raises as Ranker.rank."""
        if not documents:
            return []
        found = self.ranker.rank(query, _texts(documents), top_k=self.top_n, task=self.task)
        return _ordered(documents, found)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As compress_documents, in the ranker's thread."""
        if not documents:
            return []
        found = await self.ranker.arank(query, _texts(documents), top_k=self.top_n, task=self.task)
        return _ordered(documents, found)


def _texts(documents: Sequence[Document]) -> list[str]:
    return [one.page_content for one in documents]


def _ordered(documents: Sequence[Document], found: Results) -> list[Document]:
    return [
        documents[one.index].model_copy(
            update={"metadata": documents[one.index].metadata | {"relevance_score": one.score}}
        )
        for one in found
    ]
