"""What the readers of judged collections (TREC, BEIR) share: texts, queries and judgements that refer to
each other.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.datasets.bundle import ITEMS, QUERIES, Bundle
from ranker.datasets.files import number, one_group, refuse
from ranker.errors import BadSource

ADDED = ("row", "path")
"""Columns that say where a judgement stands; they go before it is handed on."""


def documents(rows: pl.DataFrame) -> pl.DataFrame:
    """Items from item_id, title, text (spaces not yet collapsed).

    What has no title or text shows its id instead.
    """
    flat = rows.with_columns(_flat("title"), _flat("text"))
    titled = flat.with_columns(
        pl.when(pl.col("title") == "").then("item_id").otherwise("title").alias("title")
    )
    return titled.select(
        "item_id",
        "title",
        pl.when(pl.col("text") == "").then("title").otherwise("text").alias("text"),
        pl.lit(None, pl.String).alias("attributes"),
    ).cast(dict(ITEMS))  # type: ignore[arg-type]


def _flat(column: str) -> pl.Expr:
    return pl.col(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()


def grades(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Judgements with whole grades from string columns query_id, item_id, relevance; a grade below 0 (TREC:
    junk) counts as 0.

    Raises:
        BadSource: a grade is no whole number up to 1,000, or a query and a document are judged twice.
    """
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
    return rows.with_columns(pl.col("relevance").clip(0), pl.lit(str(path)).alias("path"))


def bundle(items: pl.DataFrame, queries: pl.DataFrame, qrels: pl.DataFrame, location: Path) -> Bundle:
    """One bundle of what was read; queries without any relevant document cannot be ranked and are left out,
    counted.

    Args:
        queries: query_id, text; queries that read alike are one group.
        qrels: as `grades` gives them: with the row and path that an error names.

    Raises:
        BadSource: a judgement of a query or a document that is not there; no query has a relevant document.
    """
    for kind, column, known in (("query", "query_id", queries), ("document", "item_id", items)):
        _require_known(qrels, kind, column, known)
    relevant = qrels.filter(pl.col("relevance") > 0).select("query_id").unique()
    kept = queries.join(relevant, on="query_id", how="semi", maintain_order="left")
    if kept.is_empty():
        raise BadSource(
            "some query must have a relevant document",
            seen=f"{queries.height} queries and {qrels.height} judgements in {location}, none above 0",
            remedy="give the qrels that belong to these queries",
        )
    judged = qrels.join(kept, on="query_id", how="semi", maintain_order="left")
    without = queries.height - kept.height
    return Bundle(
        items,
        queries=kept.select("query_id", one_group(), _flat("text")).select(list(QUERIES)),
        qrels=judged.drop(ADDED),
        location=str(location),
        left_out={"queries without a relevant document": without} if without else {},
    )


def _require_known(qrels: pl.DataFrame, kind: str, column: str, known: pl.DataFrame) -> None:
    strange = qrels.join(known.select(column), on=column, how="anti", maintain_order="left")
    if strange.height:
        first = strange.row(0, named=True)
        raise BadSource(
            f"every judged {kind} must be there",
            seen=f"{first['path']}, row {first['row']}: {first[column]}"
            + (f" (and {strange.height - 1:,} more rows)" if strange.height > 1 else ""),
            remedy=f"give the file that holds this {kind}, or drop the judgement",
        )
