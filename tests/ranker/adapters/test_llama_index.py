"""The postprocessor, by the base class's own entrances."""

from __future__ import annotations

import asyncio

import pytest

from ranker import Ranker

pytest.importorskip("llama_index.core")

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from ranker.adapters.llama_index import R1Rerank
from tests.ranker.serving.running import question

QUERY, TEXTS = question(6)["query"], question(6)["documents"]


def test_nodes_are_kept_in_the_rankers_order_with_their_scores(ranker: Ranker) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=f"n{i}"), score=0.5) for i, text in enumerate(TEXTS)]
    made = R1Rerank(ranker=ranker, top_n=3)
    found = ranker.rank(QUERY, TEXTS, top_k=3)
    wanted = [(f"n{one.index}", pytest.approx(one.score)) for one in found]
    assert [(one.node_id, one.score) for one in made.postprocess_nodes(nodes, query_str=QUERY)] == wanted
    later = asyncio.run(made.apostprocess_nodes(nodes, QueryBundle(QUERY)))
    assert [(one.node_id, one.score) for one in later] == wanted
    assert made.postprocess_nodes([], query_str=QUERY) == [] and nodes[0].score == 0.5
    with pytest.raises(ValueError, match="query"):
        made.postprocess_nodes(nodes)


def test_a_node_is_read_with_the_metadata_that_an_embedding_sees(ranker: Ranker) -> None:
    node = TextNode(text="a2", metadata={"title": "a1", "page": 7}, excluded_embed_metadata_keys=["page"])
    (kept,) = R1Rerank(ranker=ranker).postprocess_nodes([NodeWithScore(node=node)], query_str="a1")
    (alone,) = ranker.rank("a1", ["title: a1\n\na2"])
    assert kept.score == pytest.approx(alone.score)
    assert "ranker" not in R1Rerank(ranker=ranker).to_dict()
