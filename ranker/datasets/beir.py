"""BEIR folders: `corpus.jsonl` ({_id, title, text}), `queries.jsonl` ({_id, text}) and `qrels/*.tsv`
(query-id, corpus-id, score).

Option `splits` names the qrels files that are read ("train+test"; empty reads all). The project draws its own
sides.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets._judged import bundle, documents, grades
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import file_in, files_digest, folder, json_lines, options, refuse, table, unique
from ranker.errors import BadSource
from ranker.types import JsonObject

DEFAULTS = {"splits": ""}
HEADER = ("query-id", "corpus-id", "score")


def read(task: Task, location: Path | None) -> Bundle:
    """Documents, and the queries that have a relevant one.

    Raises:
        BadSource: see `readers`; also a line without _id or text, an id given twice, a judgement of
        nothing.
    """
    corpus, asked, *judged = _files(task, location)
    items = documents(_lines(corpus, "item_id", required=("_id",)).with_columns(_with_title()))
    queries = _lines(asked, "query_id", required=("_id", "text"))
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
    return bundle(items, queries, qrels, corpus.parent)


def digest(task: Task, location: Path | None) -> str:
    """Over all files that are read."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> list[Path]:
    """Corpus, queries, then the qrels files."""
    where, splits = folder(task, location), str(options(task, DEFAULTS)["splits"])
    corpus, asked = file_in(task, where, "corpus.jsonl*"), file_in(task, where, "queries.jsonl*")
    below = corpus.parent / "qrels"
    names = (
        [f"{name}.tsv" for name in splits.split("+")]
        if splits
        else sorted(path.name for path in below.glob("*.tsv"))
    )
    if not names:
        raise BadSource(
            "a BEIR folder must hold judgements",
            seen=f"no .tsv file in {below}",
            remedy="put the qrels there, or name another folder",
        )
    return [corpus, asked, *(file_in(task, below, name) for name in names)]


def _lines(path: Path, identity: str, required: tuple[str, ...]) -> pl.DataFrame:
    rows = [
        (row, str(given["_id"]), str(given.get("title") or ""), str(given.get("text") or ""))
        for row, given in _checked(path, required)
    ]
    frame = pl.DataFrame(rows, schema=["row", identity, "title", "text"], orient="row")
    unique(path, frame, identity)
    return frame


def _with_title() -> pl.Expr:
    """A document is shown with its title, as BEIR's own retrievers read it."""
    both = (pl.col("title").str.strip_chars() != "") & (pl.col("text").str.strip_chars() != "")
    return pl.when(both).then(pl.format("{}. {}", "title", "text")).otherwise("text").alias("text")


def _checked(path: Path, required: tuple[str, ...]) -> list[tuple[int, JsonObject]]:
    rows = list(json_lines(path))
    for row, given in rows:
        missing = [name for name in required if not str(given.get(name) or "").strip()]
        if missing:
            raise BadSource(
                f"every line must have {', '.join(required)}",
                seen=f"{path}, row {row}: no {missing[0]}",
                remedy="add it, or drop the line",
            )
    return rows


def _qrels(path: Path) -> pl.DataFrame:
    rows = table(path, "\t")
    if tuple(rows.columns[1:]) != HEADER:
        raise BadSource(
            f"a BEIR qrels file starts with the header {' '.join(HEADER)}",
            seen=f"{path}, row 1: {' '.join(rows.columns[1:])}",
            remedy="add the header, tab-separated",
        )
    named = rows.rename({"query-id": "query_id", "corpus-id": "item_id", "score": "relevance"})
    return grades(path, named).select("row", "path", "query_id", "item_id", "relevance")
