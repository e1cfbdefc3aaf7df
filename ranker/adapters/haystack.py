"""For Haystack: a ranker component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranker.adapters.extras import needed
from ranker.library import Ranker, Results

with needed("haystack", "haystack"):
    from haystack import Document, component


@component
class R1Ranker:
    """Keeps the best documents, best first, with the ranker's scores. A document without text is refused.

    It holds a loaded model, so that a pipeline with it is not written to YAML.

    Args:
        top_k: documents that are kept; None for all.
        task: as of Ranker.rank.
    """

    def __init__(self, ranker: Ranker, top_k: int | None = 10, task: str = "") -> None:
        self.ranker, self.top_k, self.task = ranker, top_k, task

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """`documents`, ranked. Raises as Ranker.rank."""
        if not documents:
            return {"documents": []}
        found = self.ranker.rank(query, _texts(documents), top_k=top_k or self.top_k, task=self.task)
        return {"documents": _ordered(documents, found)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """As run, in the ranker's thread."""
        if not documents:
            return {"documents": []}
        found = await self.ranker.arank(query, _texts(documents), top_k=top_k or self.top_k, task=self.task)
        return {"documents": _ordered(documents, found)}


def _texts(documents: Sequence[Document]) -> list[str]:
    if any(one.content is None for one in documents):
        raise ValueError("Some documents have no text; R1Ranker ranks texts alone.")
    return [one.content or "" for one in documents]


def _ordered(documents: Sequence[Document], found: Results) -> list[Document]:
    return [replace(documents[one.index], score=one.score) for one in found]
