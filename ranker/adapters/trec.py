"""For TREC runs: those of a first stage, ranked again, as ir-measures reads and measures them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path

from ir_measures.util import ScoredDoc

from ranker.errors import BadSource
from ranker.library import Document, Ranker

QUERIES = 16
"""That are ranked at once."""


def rerank(
    ranker: Ranker,
    run: Iterable[ScoredDoc],
    queries: Mapping[str, str],
    texts: Mapping[str, str],
    *,
    depth: int = 100,
    task: str = "",
) -> Iterator[ScoredDoc]:
    """The first `depth` documents of each query in their new order; the others are left out. A score is
    1 / rank, as evaluators order by scores and break ties by ids.

    Args:
        run: of a first stage (`ir_measures.read_trec_run(path)`).
        queries, texts: by the run's ids.
        task: as of Ranker.rank.

    Raises:
        BadSource: a query or a document of the run is not among them.
        As Ranker.rank.
    """
    by_query = groupby(sorted(run, key=lambda one: (one.query_id, -one.score)), lambda one: one.query_id)
    pools = ((query, [one.doc_id for one in islice(found, depth)]) for query, found in by_query)
    while part := list(islice(pools, QUERIES)):
        asked = [
            (_known(queries, query, "query"), [_document(texts, one) for one in pool]) for query, pool in part
        ]
        ranked = ranker.rank_many(asked, top_k=None, task=task)
        for (query, _), found in zip(part, ranked, strict=True):
            yield from (ScoredDoc(query, one.id, 1 / one.rank) for one in found)


def write(path: Path, run: Iterable[ScoredDoc], tag: str = "r1-ranker") -> None:
    """A run as a file, `query Q0 document rank score tag` a line.

    Args:
        run: best first, one query after the other, as `rerank` gives it.
    """
    with path.open("w", encoding="utf-8") as file:
        for query, found in groupby(run, lambda one: one.query_id):
            file.writelines(
                f"{query} Q0 {one.doc_id} {rank} {one.score:.6f} {tag}\n" for rank, one in enumerate(found, 1)
            )


def _document(texts: Mapping[str, str], name: str) -> Document:
    return {"id": name, "text": _known(texts, name, "document")}


def _known(texts: Mapping[str, str], name: str, what: str) -> str:
    if name not in texts:
        raise BadSource(
            f"every {what} of a run has a text",
            seen=f"none for {name!r}",
            remedy=f"give the run's own {what} ids",
        )
    return texts[name]
