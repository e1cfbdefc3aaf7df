"""TREC collections: documents and topics as SGML (<DOC>, <top>) or as tab-separated lines, qrels, and
optionally a run.

Options: `collection`, `topics`, `qrels` and `run` name the files in the folder (patterns are allowed; any may
be packed), `field` the parts of a topic that are its query ("title", "desc", "narr", joined by +), `depth`
how much of a run is ranked; `unknown_documents` and `unknown_queries`: see `_judged`. Without a run the
candidates stage draws negatives from the whole collection; with one a query's pool is the run's first `depth`
documents (then set `pools = "given"` in the task), and the run's scores are its first stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets import _judged
from ranker.datasets._judged import bundle, documents, grades
from ranker.datasets.bundle import FIRST_STAGE, Bundle
from ranker.datasets.contents import shown, text
from ranker.datasets.files import LEAVE_OUT, file_in, files_digest, folder, number, options, table, unique
from ranker.datasets.values import SPACES, one_line
from ranker.errors import BadConfig, BadSource
from ranker.types import JsonObject

DEFAULTS: JsonObject = {
    "collection": "collection*",
    "topics": "topics*",
    "qrels": "qrels*",
    "run": "",
    "field": "title",
    "depth": 100,
    **_judged.DEFAULTS,
}
FILES = ("collection", "topics", "qrels", "run")
_TAG = re.compile(r"<[^<>]*>")
_TITLES = r"(?:title|headline|hl|ti)"
_SPOKEN = re.compile(r"^\s*(?:number|topic|description|narrative)\s*:", re.IGNORECASE)


def read(task: Task, location: Path | None) -> Bundle:
    """Documents, topics and judgements; a grade below 0 counts as 0, and what a run ranks without judgement
    as 0 too.

    Raises:
        BadSource: see `readers`; also text outside the blocks, a block without its id, an id given
        twice,
            a judgement or a ranked document of something that is not there.
    """
    chosen, files = options(task, DEFAULTS), _files(task, location)
    items = _collection(files["collection"])
    queries = _topics(files["topics"], str(chosen["field"]).split("+"))
    qrels, left_out = _qrels(files["qrels"]), dict[str, int]()
    if "run" in files:
        ranked = _run(files["run"])
        if chosen["unknown_documents"] == LEAVE_OUT:  # before the cut, so that pools are full
            known = ranked.join(items, on="item_id", how="semi", maintain_order="left")
            left_out = {"ranked documents that are not there": ranked.height - known.height}
            ranked = known
        qrels = _graded(files["run"], ranked, qrels, queries, int(chosen["depth"]))
    found = bundle(items, queries, qrels, files["collection"].parent, chosen)
    return replace(found, left_out={**{why: n for why, n in left_out.items() if n}, **found.left_out})


def digest(task: Task, location: Path | None) -> str:
    """Over all files that are read."""
    return files_digest(list(_files(task, location).values()))


def _files(task: Task, location: Path | None) -> dict[str, Path]:
    where, chosen = folder(task, location), options(task, DEFAULTS)
    unnamed = [kind for kind in FILES if not chosen[kind] and kind != "run"]
    if unnamed:
        raise BadConfig(
            f"task {task.name}: only a run may be left out",
            seen=f"option {unnamed[0]} is empty",
            remedy=f"name the file, or drop the option: {DEFAULTS[unnamed[0]]}",
        )
    return {kind: file_in(task, where, str(chosen[kind])) for kind in FILES if chosen[kind]}


# -- documents and topics


def _collection(path: Path) -> pl.DataFrame:
    if _tabbed(path):
        rows = table(path, "\t", _columns(path, ("item_id", "text"), ("item_id", "title", "text")))
    else:
        schema = {"row": pl.Int64, "item_id": pl.String, "title": pl.String, "text": pl.String}
        rows = pl.DataFrame(list(_documents(path)), schema=schema, orient="row")
    return documents(path, rows if "title" in rows.columns else rows.with_columns(pl.lit("").alias("title")))


def _topics(path: Path, fields: list[str]) -> pl.DataFrame:
    if _tabbed(path):
        return _judged.queries(path, table(path, "\t", ("query_id", "text")))
    found = [
        (row, _field(path, row, block, "num"), " ".join(_field(path, row, block, f) for f in fields))
        for row, block in _blocks(path, "top")
    ]
    schema = {"row": pl.Int64, "query_id": pl.String, "text": pl.String}
    return _judged.queries(path, pl.DataFrame(found, schema=schema, orient="row"))


def _tabbed(path: Path) -> bool:
    return ".tsv" in path.suffixes


def _columns(path: Path, *forms: tuple[str, ...]) -> tuple[str, ...]:
    """The form whose number of fields the first line has; the first form where none fits (`table` then
    refuses the row).
    """
    first = next((line for line in text(path).split("\n") if line.strip()), "")
    return next((form for form in forms if len(form) == first.count("\t") + 1), forms[0])


def _documents(path: Path) -> Iterator[tuple[int, str, str, str]]:
    for row, block in _blocks(path, "DOC"):
        number_, rest = _taken(block, "docno")
        if not number_:
            raise _without(path, row, "DOC", "docno")
        title = next(iter(re.findall(rf"<{_TITLES}>(.*?)</{_TITLES}>", rest, re.DOTALL | re.IGNORECASE)), "")
        yield row, number_, _TAG.sub(" ", title), _TAG.sub(" ", rest)


def _taken(block: str, tag: str) -> tuple[str, str]:
    """A tag's content and the block without it."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", block, re.DOTALL | re.IGNORECASE)
    return (found[1].strip(SPACES), block[: found.start()] + block[found.end() :]) if found else ("", block)


def _field(path: Path, row: int, block: str, name: str) -> str:
    """A topic's field: up to the next tag, for classic topics close none."""
    found = re.search(rf"<{re.escape(name)}>(.*?)(?=<|\Z)", block, re.DOTALL | re.IGNORECASE)
    said = one_line(_SPOKEN.sub("", found[1])) if found else ""
    if not said:
        raise _without(path, row, "top", name)
    return said


def _without(path: Path, row: int, block: str, tag: str) -> BadSource:
    return BadSource(
        f"every <{block}> must hold a <{tag}>",
        seen=f"{path}, row {row}: none, or an empty one",
        remedy="add it, or drop the block",
    )


def _blocks(path: Path, tag: str) -> Iterator[tuple[int, str]]:
    """(row, content) of every <tag>…</tag>; nothing but space may stand between them."""
    whole, end, row = text(path), 0, 1
    for found in re.finditer(rf"<{tag}>(.*?)</{tag}>", whole, re.DOTALL | re.IGNORECASE):
        _require_blank(path, whole, end, found.start(), row, tag)
        row += whole.count("\n", end, found.start())
        yield row, found[1]
        row, end = row + found[0].count("\n"), found.end()
    _require_blank(path, whole, end, len(whole), row, tag)


def _require_blank(path: Path, whole: str, start: int, end: int, row: int, tag: str) -> None:
    between = whole[start:end]
    if between.strip():
        at = row + between[: len(between) - len(between.lstrip())].count("\n")
        raise BadSource(
            f"everything must stand between <{tag}> and </{tag}>",
            seen=f"{path}, row {at}: {' '.join(between.split())[:80]}",
            remedy=(
                "close the block, or name the right file in the task's options (a tab-separated one ends in"
                " .tsv)"
            ),
        )


# -- judgements and runs


def _qrels(path: Path) -> pl.DataFrame:
    rows = _spaced(path, ("query_id", "iteration", "item_id", "relevance"))
    return grades(path, rows).select("row", "path", "query_id", "item_id", "relevance")


def _run(path: Path) -> pl.DataFrame:
    """What a run ranks: row, query_id, item_id, score (a finite number)."""
    rows = _spaced(path, ("query_id", "q0", "item_id", "rank", "score", "tag"))
    rows = number(path, rows, "score", -1e12, 1e12, "give the score of each document")
    pair = pl.format("query {}, document {}", "query_id", "item_id").alias("a ranked document")
    unique(path, rows.with_columns(pair), "a ranked document")
    return rows.select("row", "query_id", "item_id", "score")


def _graded(
    path: Path, ranked: pl.DataFrame, qrels: pl.DataFrame, queries: pl.DataFrame, depth: int
) -> pl.DataFrame:
    """The first `depth` documents of each judged query, by falling score and document id (trec_eval's
    order), with their grades and scores.
    """
    judged = ranked.join(qrels.select("query_id").unique(), on="query_id", how="semi").join(
        queries, on="query_id", how="semi"
    )
    best = judged.sort("query_id", "score", "item_id", descending=[False, True, True]).filter(
        pl.int_range(pl.len()).over("query_id") < depth
    )
    graded = best.join(
        qrels.select("query_id", "item_id", "relevance"),
        on=["query_id", "item_id"],
        how="left",
        maintain_order="left",
    )
    return graded.select(
        "row",
        pl.lit(shown(path)).alias("path"),
        "query_id",
        "item_id",
        pl.col("relevance").fill_null(0.0),
        pl.col("score").alias(FIRST_STAGE),
    )


def _spaced(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """A file whose fields are separated by any run of spaces or tabs."""
    rows = table(path, "\n", ("line",))
    fields = rows.with_columns(
        pl.col("line").str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ").alias("fields")
    )
    wrong = fields.filter(pl.col("fields").list.len() != len(columns))
    if wrong.height:
        raise BadSource(
            f"every row must have {len(columns)} fields ({' '.join(columns)})",
            seen=f"{path}, row {wrong['row'][0]}: {wrong['line'][0][:80]}",
            remedy="mend the row, or name the right file in the task's options",
        )
    return fields.select("row", *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(columns)))
