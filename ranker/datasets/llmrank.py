"""LLMRank's files (Games and others): `<name>.item` (item_id, title) and sequences without times,
`<name>*.inter`.

A row is a user with `item_id_list` (oldest first) and, but for `<name>_id.inter`, the next item `item_id`.
The files of the different sides repeat one another: a user's longest row holds all, and the others must be
beginnings of it. An item's time is its place in that row, in seconds.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets.bundle import Bundle
from ranker.datasets.contents import bare, shown
from ranker.datasets.files import file_in, files_digest, files_in, folder, interactions, options
from ranker.datasets.recbole import fields, item_texts
from ranker.errors import BadSource


def read(task: Task, location: Path | None) -> Bundle:
    """Interactions, timed by their place in the user's sequence, and items.

    Raises:
        BadSource: see `readers`; also a sequence that is no beginning of its user's longest one, or an
        item twice in it.
    """
    options(task, {})
    item, *sequences = _files(task, location)
    items = item_texts(item)
    rows = pl.concat([_sequences(path) for path in sequences])
    longest = rows.sort(pl.col("items").list.len(), descending=True, maintain_order=True).unique(
        "user_id", keep="first", maintain_order=True
    )
    _require_beginnings(rows, longest)
    placed = longest.select(
        "path",
        "row",
        "user_id",
        pl.col("items").alias("item_id"),
        pl.int_ranges(0, pl.col("items").list.len()).alias("timestamp"),
    )
    long = placed.explode("item_id", "timestamp")
    parts = [
        interactions(Path(part["path"][0]), part, items, (0, 10))
        for part in long.partition_by("path", maintain_order=True)
    ]
    return Bundle(items, pl.concat(parts), location=str(item.parent))


def digest(task: Task, location: Path | None) -> str:
    """Over the items and all sequences."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> Sequence[Path]:
    where = folder(task, location)
    item = file_in(task, where, "*.item")
    name = bare(item.name).removesuffix(".item")
    sequences = files_in(item.parent, f"{glob.escape(name)}*.inter")
    if not sequences:
        raise BadSource(
            f"task {task.name}: its folder must hold sequences",
            seen=f"no {name}*.inter in {item.parent}",
            remedy=f"put them there, or name another folder with ingest.locations.{task.name}",
        )
    return [item, *sequences]


def _sequences(path: Path) -> pl.DataFrame:
    """Columns path, row, user_id, items (the list and, where given, the next item)."""
    rows = fields(path, ("user_id", "item_id_list"))
    following = pl.col("item_id") if "item_id" in rows.columns else pl.lit("")
    whole = (
        pl.concat_str("item_id_list", following, separator=" ").str.replace_all(r"\s+", " ").str.strip_chars()
    )
    return rows.select(
        pl.lit(shown(path)).alias("path"), "row", "user_id", whole.str.split(" ").alias("items")
    )


def _require_beginnings(rows: pl.DataFrame, longest: pl.DataFrame) -> None:
    pairs = rows.join(
        longest.select("user_id", pl.col("items").alias("whole")), on="user_id", maintain_order="left"
    )
    strange = pairs.filter(pl.col("items") != pl.col("whole").list.head(pl.col("items").list.len()))
    if strange.height:
        first = strange.row(0, named=True)
        raise BadSource(
            "a user's sequences must be beginnings of the longest one",
            seen=(
                f"{first['path']}, row {first['row']}: user {first['user_id']},"
                f" {' '.join(first['items'])[:80]}"
            ),
            remedy="put only files of one data set into the folder",
        )
