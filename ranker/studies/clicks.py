"""Clicks as labels: what users clicked on days that passed, corrected for position bias, as a BEIR folder
that `ranker retrain` reads like any judged collection.

Nothing reads clicks into training by itself. Whoever does keeps a labelled task beside it: the promotion rule
then excludes a loss there.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake
from ranker.refs import digest


def write(lake: Lake, folder: Path, task: str, least_shown: int, relevant: float) -> dict[str, int]:
    """Write corpus.jsonl, queries.jsonl and qrels/clicks.tsv; gives the numbers of queries, documents judged
    and relevant.

    A document is relevant to a query where its corrected click rate (`relevance_of_clicks`) is at least
    `relevant`; queries without a relevant one are left out.

    Raises:
        BadConfig: the folder is not empty.
        StageMissing: no query has one.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadConfig(
            "clicks are written into an empty folder",
            seen=f"{folder} holds files",
            remedy="name another folder, or empty it",
        )
    judged = lake.named("traffic/labels", {"task": task, "shown": least_shown, "relevant": relevant})
    judged = judged.with_columns(
        pl.Series("query_id", [digest(query) for query in judged["query"]], pl.String)
    ).filter(pl.col("grade").max().over("query_id") > 0)
    if judged.is_empty():
        raise StageMissing(
            "some query must have a document that is clicked often enough",
            seen=f"none on {task!r} with {least_shown} showings and a corrected rate of {relevant:g}",
            remedy='see `ranker query "from feedback_days"`, or lower --shown and --relevant',
        )
    (folder / "qrels").mkdir(parents=True)
    documents = judged.unique("item_id", keep="first", maintain_order=True)
    asked = judged.unique("query_id", keep="first", maintain_order=True)
    _lines(folder / "corpus.jsonl", documents.select(pl.col("item_id").alias("_id"), "text"))
    _lines(
        folder / "queries.jsonl", asked.select(pl.col("query_id").alias("_id"), pl.col("query").alias("text"))
    )
    qrels = judged.select(
        pl.col("query_id").alias("query-id"),
        pl.col("item_id").alias("corpus-id"),
        pl.col("grade").alias("score"),
    )
    qrels.write_csv(folder / "qrels" / "clicks.tsv", separator="\t")
    relevant_ones = int((judged["grade"] > 0).sum())
    return {"queries": asked.height, "judged": judged.height, "relevant": relevant_ones}


def _lines(path: Path, rows: pl.DataFrame) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows.iter_rows(named=True))
    path.write_text("".join(lines), encoding="utf-8")
