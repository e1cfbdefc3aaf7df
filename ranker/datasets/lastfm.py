"""Last.fm of HetRec 2011: `artists.dat`, `user_artists.dat` (user, artist, plays) and
`user_taggedartists-timestamps.dat`.

Only tags carry a time, so a user meets an artist when first tagging it. What has no time (listened to and
never tagged, or tagged before Last.fm existed: the file holds dates such as 1956) counts as met before
everything else: it can never be drawn as a negative, and its own order is a seeded one. Plays become ratings
from 0 to 10: the logarithm of the plays over that of the user's most played artist. Option `encoding`
(default "utf-8").
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.config import Task
from ranker.datasets.bundle import Bundle
from ranker.datasets.files import (
    LATEST,
    file_in,
    files_digest,
    folder,
    interactions,
    met_once,
    number,
    options,
    present,
    table,
    unique,
)
from ranker.errors import BadSource

DEFAULTS = {"encoding": "utf-8"}
EARLIEST = 1_009_843_200
"""2002-01-01 in Unix seconds: Last.fm began in that year."""
NAMES = ("artists.dat", "user_artists.dat", "user_taggedartists-timestamps.dat")
_IDS = {"userID": "user_id", "artistID": "item_id"}


def read(task: Task, location: Path | None) -> Bundle:
    """Artists, and who met which of them when; a listened or tagged artist that artists.dat does not name is
    left out, counted.

    Raises:
        BadSource: see `readers`; also a column that is missing, plays or times that are no numbers.
    """
    (artists, played, tagged), encoding = _files(task, location), str(options(task, DEFAULTS)["encoding"])
    items = _artists(artists, encoding)
    meetings, untimed = _meetings(played, tagged, encoding)
    known = meetings.join(items, on="item_id", how="semi", maintain_order="left")
    left_out = {
        "meetings with artists that artists.dat does not name": meetings.height - known.height,
        "times before 2002, taken as the beginning": untimed,
    }
    return Bundle(
        items,
        interactions(tagged, known, items, (0, 10)),
        location=str(tagged.parent),
        left_out={why: count for why, count in left_out.items() if count},
    )


def digest(task: Task, location: Path | None) -> str:
    """Over the three files."""
    return files_digest(_files(task, location))


def _files(task: Task, location: Path | None) -> tuple[Path, Path, Path]:
    where = folder(task, location)
    artists, played, tagged = (file_in(task, where, name) for name in NAMES)
    return artists, played, tagged


def _artists(path: Path, encoding: str) -> pl.DataFrame:
    rows = _columns(path, ("id", "name"), encoding).rename({"id": "item_id"})
    unique(path, rows, "item_id")
    return rows.select(
        "item_id",
        pl.col("name").alias("title"),
        pl.col("name").alias("text"),
        pl.lit(None, pl.String).alias("attributes"),
    )


def _meetings(played: Path, tagged: Path, encoding: str) -> tuple[pl.DataFrame, int]:
    """Columns row, user_id, item_id, timestamp (seconds), rating (0 to 10 or null); and how many times were
    too early.
    """
    rated, timed = _plays(played, encoding), _times(tagged, encoding)
    first = timed.group_by("user_id", "item_id", maintain_order=True).agg(
        pl.col("row").first(), pl.col("timestamp").min()
    )
    both = first.join(
        rated, on=["user_id", "item_id"], how="full", coalesce=True, maintain_order="left_right"
    ).with_columns(pl.coalesce("row", "row_right").alias("row"), pl.col("timestamp").fill_null(0.0))
    return both.drop("row_right"), timed["timestamp"].null_count()


def _plays(path: Path, encoding: str) -> pl.DataFrame:
    """Columns row, user_id, item_id, rating: the logarithm of the plays over that of the user's most."""
    rows = _columns(path, (*_IDS, "weight"), encoding).rename(_IDS)
    present(path, rows, *_IDS.values())
    met_once(path, rows)
    plays = number(path, rows, "weight", 0, 1e12, "give the number of plays")
    share = (pl.col("weight") + 1).log() / (pl.col("weight").max().over("user_id") + 1).log()
    rating = pl.when(share.is_finite()).then(10 * share).otherwise(0.0).alias("rating")
    return plays.select("row", "user_id", "item_id", rating)


def _times(path: Path, encoding: str) -> pl.DataFrame:
    """Columns row, user_id, item_id, timestamp: seconds, null where it is too early to be one.

    Raises:
        BadSource: all are too early, as times in seconds are.
    """
    rows = _columns(path, (*_IDS, "timestamp"), encoding).rename(_IDS)
    present(path, rows, *_IDS.values())
    tags = number(path, rows, "timestamp", -1e13, 1_000 * LATEST, "give Unix time in milliseconds")
    early = pl.col("timestamp") / 1000 < EARLIEST
    if tags.select(early.all()).item():
        raise BadSource(
            "some time must lie after 2001, in milliseconds",
            seen=f"{path}, row {tags['row'][0]}: {tags['timestamp'][0]:.0f}, and none is later than 2001",
            remedy="give Unix time in milliseconds: a thousand times the seconds",
        )
    return tags.with_columns(
        pl.when(early).then(None).otherwise(pl.col("timestamp") / 1000).alias("timestamp")
    )


def _columns(path: Path, wanted: tuple[str, ...], encoding: str) -> pl.DataFrame:
    rows = table(path, "\t", encoding=encoding, header=wanted)
    return rows.select("row", *wanted)
