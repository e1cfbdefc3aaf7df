"""MS MARCO question answering (v1.1, v2.1) as Parquet: query, query_id, passages {is_selected, passage_text},
one row a query.

A query's pool is its own passages: queries with exactly `passages` of them (option; default: the task's pool
size), one of them selected. All *.parquet files of the folder are read; the project draws its own sides.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets.bundle import Bundle
from ranker.datasets.columns import parquet
from ranker.datasets.contents import shown
from ranker.datasets.files import files_digest, files_in, folder, one_group, options, present
from ranker.datasets.values import flat
from ranker.errors import BadSource

COLUMNS = ("query", "query_id", "passages")
PARTS = ("is_selected", "passage_text")


def read(task: Task, location: Path | None) -> Bundle:
    """Queries, their passages and which is the selected one; other queries are left out, counted by why.

    Raises:
        BadSource: a file is missing or no Parquet, a column is missing, a row's lists differ in length, a
        query_id repeats,
            or no query has the wanted number of passages.
    """
    wanted = int(options(task, {"passages": 0})["passages"]) or task.pool_size
    files = _files(task, location)
    rows = pl.concat([_rows(path) for path in files])
    _require_once(rows)
    left_out: dict[str, int] = {}
    for why, fit in _rules(wanted).items():
        kept = rows.filter(fit)
        left_out |= {why: rows.height - kept.height} if kept.height < rows.height else {}
        rows = kept
    if rows.is_empty():
        raise BadSource(
            f"some query must have {wanted} passages, one of them selected",
            seen=f"none in {files[0].parent}: "
            + ", ".join(f"{count} {why}" for why, count in left_out.items()),
            remedy="set the task's option passages to a number that occurs",
        )
    return _bundle(rows, str(files[0].parent), left_out)


def digest(task: Task, location: Path | None) -> str:
    """Over all files that are read."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> list[Path]:
    where = folder(task, location)
    found = [where] if where.is_file() else files_in(where, "*.parquet")
    if not found:
        raise BadSource(
            f"task {task.name}: its folder must hold Parquet files",
            seen=f"no *.parquet in {where}",
            remedy=f"name another folder with ingest.locations.{task.name}",
        )
    return found


def _rows(path: Path) -> pl.DataFrame:
    """Columns path, row, query, query_id, selected (list of whole numbers), texts (list, spaces
    collapsed).
    """
    frame = parquet(path, COLUMNS)
    _require_types(path, frame.schema)
    passages = pl.col("passages").struct
    rows = frame.with_row_index("row", offset=1).select(
        pl.lit(shown(path)).alias("path"),
        "row",
        flat("query").alias("query"),
        pl.col("query_id").cast(pl.String),
        passages.field("is_selected").cast(pl.List(pl.Int64), strict=False).alias("selected"),
        passages.field("passage_text").list.eval(flat(pl.element())).alias("texts"),
    )
    _refuse(
        rows.filter(
            (pl.col("selected").list.len() != pl.col("texts").list.len()).fill_null(True)
            | pl.col("query_id").is_null()
        ),
        "a row needs a query_id and as many is_selected as passage_text",
        pl.format(
            "{} is_selected, {} passage_text", pl.col("selected").list.len(), pl.col("texts").list.len()
        ),
        "fetch the file again",
    )
    present(path, rows, "query_id")
    return rows


def _require_types(path: Path, schema: pl.Schema) -> None:
    kind = schema.get("passages")
    parts = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
    missing = [name for name in COLUMNS if name not in schema] + [
        f"passages.{name}" for name in PARTS if name not in parts
    ]
    if missing:
        raise BadSource(
            f"a file needs the columns {', '.join(COLUMNS)}, with {' and '.join(PARTS)} in passages",
            seen=f"{path}: no {', '.join(missing)} among {', '.join(schema)}",
            remedy="take the question-answering version of MS MARCO, as Parquet",
        )
    selected, texts = (parts[name] for name in PARTS)
    for name, given, fits in (
        ("query is text", schema["query"], _is_text(schema["query"])),
        (
            "query_id is a whole number or text",
            schema["query_id"],
            _is_whole(schema["query_id"]) or _is_text(schema["query_id"]),
        ),
        (
            "passages.is_selected is a list of whole numbers",
            selected,
            isinstance(selected, pl.List) and _is_whole(selected.inner),
        ),
        (
            "passages.passage_text is a list of texts",
            texts,
            isinstance(texts, pl.List) and _is_text(texts.inner),
        ),
    ):
        if not fits:
            raise BadSource(
                f"a column must have its type: {name}",
                seen=f"{path}: {given}",
                remedy="take the question-answering version of MS MARCO, as Parquet",
            )


def _is_text(kind: object) -> bool:
    return isinstance(kind, pl.String | pl.Null)  # Null: a column without any value


def _is_whole(kind: object) -> bool:
    return isinstance(kind, pl.Null) or (isinstance(kind, pl.DataType) and kind.is_integer())


def _require_once(rows: pl.DataFrame) -> None:
    again = rows.filter(~pl.col("query_id").is_first_distinct())
    _refuse(
        again,
        "a query_id must be given once",
        pl.format("{} again", "query_id"),
        "read one version of the data at a time",
    )


def _refuse(wrong: pl.DataFrame, rule: str, seen: pl.Expr, remedy: str) -> None:
    if wrong.height:
        said = wrong.select(
            pl.format("{}, record {}: {}", "path", "row", seen.cast(pl.String).fill_null("nothing"))
        ).item(0, 0)
        raise BadSource(rule, seen=said or f"{wrong['path'][0]}, record {wrong['row'][0]}", remedy=remedy)


def _rules(wanted: int) -> dict[str, pl.Expr]:
    """Why a query is left out → what keeps it."""
    texts = pl.col("texts")
    return {
        f"queries without exactly {wanted} passages": texts.list.len() == wanted,
        "queries without exactly one selected passage": (
            pl.col("selected").list.eval(pl.element() > 0).list.sum() == 1
        ),
        "queries without text": pl.col("query") != "",
        "queries with an empty passage, or one passage twice": (
            (texts.list.n_unique() == wanted) & ~texts.list.contains("")
        ),
    }


def _bundle(rows: pl.DataFrame, location: str, left_out: dict[str, int]) -> Bundle:
    places = pl.int_ranges(0, pl.col("texts").list.len()).alias("place")
    long = rows.select("query_id", "selected", "texts", places).explode("selected", "texts", "place")
    item = pl.format("{}-{}", "query_id", "place").alias("item_id")
    return Bundle(
        items=long.select(
            item,
            item.alias("title"),
            pl.col("texts").alias("text"),
            pl.lit(None, pl.String).alias("attributes"),
        ),
        queries=rows.select("query_id", one_group("query"), pl.col("query").alias("text")),
        qrels=long.select("query_id", item, (pl.col("selected") > 0).cast(pl.Float64).alias("relevance")),
        location=location,
        left_out=left_out,
    )
