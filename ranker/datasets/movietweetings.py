"""MovieTweetings: `ratings.dat` (user::item::rating::unix time) and `movies.dat` (item::title
(year)::genres).

Option `rating_range` [low, high].
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import (
    file_in,
    files_digest,
    folder,
    interactions,
    options,
    rating_range,
    table,
    unique,
)
from ranker.datasets.values import flat
from ranker.types import JsonObject

DEFAULTS: JsonObject = {"rating_range": [0, 10]}


def read(task: Task, location: Path | None) -> Bundle:
    """Interactions and movies; a movie's text is its title (with year) and genres.

    Raises:
        BadSource: see `readers`; ratings must lie within the task's option rating_range (default 0 to
        10).
    """
    options(task, DEFAULTS)
    ratings, movies = _files(task, location)
    items = _movies(movies)
    rows = table(ratings, "::", ("user_id", "item_id", "rating", "timestamp"))
    return Bundle(
        items, interactions(ratings, rows, items, rating_range(task, (0, 10))), location=str(ratings.parent)
    )


def digest(task: Task, location: Path | None) -> str:
    """Over the two files."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> tuple[Path, Path]:
    where = folder(task, location)
    return file_in(task, where, "ratings.dat"), file_in(task, where, "movies.dat")


def _movies(path: Path) -> pl.DataFrame:
    rows = table(path, "::", ("item_id", "title", "genres"))
    unique(path, rows, "item_id")
    genres = flat(pl.col("genres").str.replace_all("|", " ", literal=True))
    title = pl.when(flat("title") == "").then(flat("item_id")).otherwise(flat("title"))
    return rows.select(
        "item_id",
        title.alias("title"),
        pl.when(genres != "").then(pl.format("{}, {}", title, genres)).otherwise(title).alias("text"),
        pl.struct("genres").struct.json_encode().alias("attributes"),
    )
