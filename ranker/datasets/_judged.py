"""What the readers of judged collections (TREC, BEIR, ir_datasets) share: texts, queries and judgements that
refer to each other.

Options: `unknown_documents` and `unknown_queries`, "refuse" (the default: a judgement of what is not there is
a fault) or "leave out" (counted), for official judgements that reach beyond the collection.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.datasets.bundle import ITEMS, QUERIES, Bundle
from ranker.datasets.contents import shown
from ranker.datasets.files import (
    LEAVE_OUT,
    REFUSE,
    further,
    number,
    one_group,
    present,
    refuse,
    unique,
)
from ranker.datasets.values import flat
from ranker.errors import BadSource
from ranker.types import Fields, JsonObject

DEFAULTS: JsonObject = {"unknown_documents": REFUSE, "unknown_queries": REFUSE}
ADDED = ("row", "path")
"""Columns that say where a judgement stands; they go before it is handed on."""


def documents(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Items from row, item_id, title, text.

    Raises:
        BadSource: an id is empty or given twice.
    """
    unique(path, rows, "item_id")
    return rows.select("item_id", "title", "text", pl.lit(None, pl.String).alias("attributes")).cast(
        dict(ITEMS)  # type: ignore[arg-type]
    )


def with_title() -> pl.Expr:
    """A document's text with its title in front, as BEIR's own retrievers read it; from title and text."""
    title, text = flat("title"), pl.col("text").str.strip_chars()
    both = (title != "") & (text != "")
    whole = pl.format("{}. {}", title, text)
    return pl.when(both).then(whole).otherwise("text").alias("text")


def queries(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Queries (query_id, text) from row, query_id, text.

    Raises:
        BadSource: an id is empty or given twice; a query without text, which nothing can be ranked for.
    """
    unique(path, rows, "query_id")
    refuse(
        path,
        rows,
        flat("text") == "",
        "every query must have a text",
        pl.format("no text of {}", "query_id"),
        "add it, or drop the query",
    )
    return rows.select("query_id", flat("text").alias("text"))


def grades(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Judgements with whole grades from string columns query_id, item_id, relevance; a grade below 0 (TREC:
    junk) counts as 0.

    Raises:
        BadSource: an id is empty, a grade is no whole number up to 1,000, or a query and a document are
            judged twice.
    """
    present(path, rows, "query_id", "item_id")
    rows = number(path, rows, "relevance", -10, 1_000, "give whole grades, 0 for not relevant")
    whole = pl.col("relevance") == pl.col("relevance").round()
    refuse(
        path,
        rows,
        ~whole,
        "a grade must be a whole number",
        pl.col("relevance"),
        "multiply the grades, or round them",
    )
    twice = rows.filter(pl.struct("query_id", "item_id").is_duplicated())
    said = pl.format("query {}, document {}", "query_id", "item_id")
    refuse(
        path, twice, pl.lit(True), "a query and a document must be judged once", said, "keep one of the rows"
    )
    named = rows if "path" in rows.columns else rows.with_columns(pl.lit(shown(path)).alias("path"))
    return named.with_columns(pl.col("relevance").clip(0))


def bundle(
    items: pl.DataFrame, queries: pl.DataFrame, qrels: pl.DataFrame, location: Path, chosen: Fields
) -> Bundle:
    """One bundle of what was read; queries without any relevant document cannot be ranked and are left out,
    counted.

    Args:
        queries: query_id, text; queries that read alike are one group.
        qrels: as `grades` gives them: with the row and path that an error names.
        chosen: the task's options, those of `DEFAULTS` among them.

    Raises:
        BadSource: a judgement of a query or a document that is not there; no query has a relevant document.
    """
    left_out: dict[str, int] = {}
    for kind, kinds, column, known in (
        ("query", "queries", "query_id", queries),
        ("document", "documents", "item_id", items),
    ):
        strange = qrels.join(known.select(column), on=column, how="anti", maintain_order="left")
        if strange.height:
            if chosen[f"unknown_{kinds}"] == REFUSE:
                raise _unknown(strange, kind, kinds, column)
            left_out[f"judgements of {kinds} that are not there"] = strange.height
            qrels = qrels.join(known.select(column), on=column, how="semi", maintain_order="left")
    relevant = qrels.filter(pl.col("relevance") > 0).select("query_id").unique()
    kept = queries.join(relevant, on="query_id", how="semi", maintain_order="left")
    if kept.is_empty():
        raise BadSource(
            "some query must have a relevant document",
            seen=f"{queries.height} queries and {qrels.height} judgements in {location}, none above 0",
            remedy="give the qrels that belong to these queries",
        )
    judged = qrels.join(kept, on="query_id", how="semi", maintain_order="left")
    if kept.height < queries.height:
        left_out["queries without a relevant document"] = queries.height - kept.height
    return Bundle(
        items,
        queries=kept.select("query_id", one_group(), "text").select(list(QUERIES)),
        qrels=judged.drop(ADDED),
        location=str(location),
        left_out=left_out,
    )


def _unknown(strange: pl.DataFrame, kind: str, kinds: str, column: str) -> BadSource:
    first, more = strange.row(0, named=True), further(strange)
    return BadSource(
        f"every judged {kind} must be there",
        seen=f"{first['path']}, row {first['row']}: {first[column]}{more}",
        remedy=(
            f"give the file that holds this {kind}, drop the judgement, or set the task's option"
            f' unknown_{kinds} = "{LEAVE_OUT}"'
        ),
    )
