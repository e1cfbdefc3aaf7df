"""For LlamaIndex: a node postprocessor."""

from __future__ import annotations

from collections.abc import Sequence

from ranker.adapters.extras import needed
from ranker.library import Ranker, Results

with needed("llama_index", "llama-index"):
    from llama_index.core.bridge.pydantic import Field
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle


class R1Rerank(BaseNodePostprocessor):
    """Keeps the best nodes, best first, with the ranker's scores. A node is read with the metadata that an
    embedding would see.
    """

    ranker: Ranker = Field(exclude=True)
    top_n: int | None = Field(default=10, description="Nodes that are kept; None for all.")
    task: str = Field(default="", description="As of Ranker.rank.")

    @classmethod
    def class_name(cls) -> str:
        """As the base class has it."""
        return "R1Rerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        return _ordered(nodes, self.ranker.rank(query, _texts(nodes), top_k=self.top_n, task=self.task))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        found = await self.ranker.arank(query, _texts(nodes), top_k=self.top_n, task=self.task)
        return _ordered(nodes, found)


def _query(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise ValueError("Missing query bundle in extra info.")  # as LlamaIndex's own rerankers say it
    return bundle.query_str


def _texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [one.node.get_content(metadata_mode=MetadataMode.EMBED) for one in nodes]


def _ordered(nodes: Sequence[NodeWithScore], found: Results) -> list[NodeWithScore]:
    return [NodeWithScore(node=nodes[one.index].node, score=one.score) for one in found]
