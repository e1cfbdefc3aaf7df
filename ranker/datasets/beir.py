"""BEIR folders: `corpus.jsonl` ({_id, title, text}), `queries.jsonl` ({_id, text}) and `qrels/*.tsv`
(query-id, corpus-id, score; fields may be quoted, as BEIR's own loader reads them).

Option `splits` names the qrels files that are read ("train+test"; empty reads all). The project draws its own
sides. `unknown_documents` and `unknown_queries`: see `_judged`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets import _judged
from ranker.datasets._judged import bundle, documents, grades, with_title
from ranker.datasets.bundle import Bundle
from ranker.datasets.contents import bare
from ranker.datasets.files import (
    file_in,
    files_digest,
    files_in,
    folder,
    id_of,
    json_lines,
    options,
    refuse,
    table,
    text_of,
)
from ranker.errors import BadSource
from ranker.types import JsonObject

DEFAULTS: JsonObject = {"splits": "", **_judged.DEFAULTS}
HEADER = ("query-id", "corpus-id", "score")


def read(task: Task, location: Path | None) -> Bundle:
    """Documents, and the queries that have a relevant one.

    Raises:
        BadSource: see `readers`; also a line without _id, a query without text, an id given twice, a
            judgement of nothing.
    """
    corpus, asked, *judged = _files(task, location)
    items = documents(corpus, _lines(corpus, "item_id").with_columns(with_title()))
    queries = _judged.queries(asked, _lines(asked, "query_id"))
    qrels = pl.concat([_qrels(path) for path in judged])
    twice = qrels.filter(pl.struct("query_id", "item_id").is_duplicated())
    said = pl.format("query {}, document {}, also in another of the files", "query_id", "item_id")
    refuse(
        judged[-1],
        twice,
        pl.lit(True),
        "a query and a document must be judged once",
        said,
        "choose the files with the option splits",
    )
    return bundle(items, queries, qrels, corpus.parent, options(task, DEFAULTS))


def digest(task: Task, location: Path | None) -> str:
    """Over all files that are read."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> list[Path]:
    """Corpus, queries, then the qrels files."""
    where, splits = folder(task, location), str(options(task, DEFAULTS)["splits"])
    corpus, asked = file_in(task, where, "corpus.jsonl"), file_in(task, where, "queries.jsonl")
    below = corpus.parent / "qrels"
    names = (
        [f"{name}.tsv" for name in splits.split("+")]
        if splits
        else [bare(path.name) for path in files_in(below, "*.tsv")]
    )
    if not names:
        raise BadSource(
            "a BEIR folder must hold judgements",
            seen=f"no .tsv file in {below}",
            remedy="put the qrels there, or name another folder",
        )
    return [corpus, asked, *(file_in(task, below, name) for name in names)]


def _lines(path: Path, identity: str) -> pl.DataFrame:
    rows = [
        (row, _id(path, row, given), text_of(path, row, given, "title"), text_of(path, row, given, "text"))
        for row, given in json_lines(path)
    ]
    schema = {"row": pl.Int64, identity: pl.String, "title": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _id(path: Path, row: int, given: JsonObject) -> str:
    found = id_of(path, row, given, "_id")
    if not found:
        raise BadSource(
            "every line must have an _id",
            seen=f"{path}, row {row}: no _id",
            remedy="add it, or drop the line",
        )
    return found


def _qrels(path: Path) -> pl.DataFrame:
    rows = table(path, "\t", quoted=True)
    if tuple(rows.columns[1:]) != HEADER:
        raise BadSource(
            f"a BEIR qrels file starts with the header {' '.join(HEADER)}",
            seen=f"{path}, row 1: {' '.join(rows.columns[1:])}",
            remedy="add the header, tab-separated",
        )
    named = rows.rename({"query-id": "query_id", "corpus-id": "item_id", "score": "relevance"})
    return grades(path, named).select("row", "path", "query_id", "item_id", "relevance")
