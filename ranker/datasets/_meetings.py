"""What the readers of meetings of users and items share: rows that options leave out, counted.

Options: `unknown_items` and `repeats`, "refuse" (a fault, the default) or "leave out" (of repeats the
earliest stays); `core` k keeps only users and items that meet at least k times (k-core).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.datasets.files import LATEST, REFUSE, number
from ranker.errors import BadSource
from ranker.types import Fields, JsonObject

DEFAULTS: JsonObject = {"rating_range": [0, 5], "unknown_items": REFUSE, "repeats": REFUSE, "core": 0}


def kept(
    path: Path, rows: pl.DataFrame, items: pl.DataFrame, chosen: Fields, left_out: dict[str, int]
) -> pl.DataFrame:
    """The rows (row, user_id, item_id, timestamp, …) that the options `chosen` let in; `left_out` counts the
    others by why they go.

    Raises:
        BadSource: a time is none, or no row is left.
    """
    for thin in (_known_items, _first_meetings, _core):
        rows = thin(path, rows, items, chosen, left_out)
    return rows


def _known_items(
    path: Path, rows: pl.DataFrame, items: pl.DataFrame, chosen: Fields, left_out: dict[str, int]
) -> pl.DataFrame:
    """With unknown_items = "leave out": only meetings with items that the `.item` file names."""
    if chosen["unknown_items"] == REFUSE:
        return rows
    return _counted(
        rows,
        rows.join(items, on="item_id", how="semi", maintain_order="left"),
        "meetings with items that are not among the items",
        left_out,
    )


def _first_meetings(
    path: Path, rows: pl.DataFrame, items: pl.DataFrame, chosen: Fields, left_out: dict[str, int]
) -> pl.DataFrame:
    """With repeats = "leave out": the earliest meeting of each user and item, of equal times the first
    row.
    """
    if chosen["repeats"] == REFUSE:
        return rows
    timed = number(path, rows, "timestamp", 0, LATEST, "give Unix time in seconds").select(
        "row", pl.col("timestamp").alias("at")
    )
    first = (
        rows.join(timed, on="row")
        .sort("at", "row")
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
        .sort("row")
    )
    return _counted(rows, first.drop("at"), "later meetings of the same user and item", left_out)


def _core(
    path: Path, rows: pl.DataFrame, items: pl.DataFrame, chosen: Fields, left_out: dict[str, int]
) -> pl.DataFrame:
    """With core = k: users and items of fewer than k meetings go, again and again until none is left."""
    k, left = chosen["core"], rows
    while k and left.height:
        enough = left.filter((pl.len().over("user_id") >= k) & (pl.len().over("item_id") >= k))
        if enough.height == left.height:
            break
        left = enough
    if left.is_empty():
        raise BadSource(
            "some users and items must meet often enough",
            seen=f"{path}: none is left"
            + (f" at core = {k}" if k else ": their items are not among the items"),
            remedy="lower the task's option core" if k else "give the items of these meetings",
        )
    return _counted(rows, left, f"meetings outside the {k}-core", left_out)


def _counted(before: pl.DataFrame, after: pl.DataFrame, why: str, left_out: dict[str, int]) -> pl.DataFrame:
    if after.height < before.height:
        left_out[why] = before.height - after.height
    return after
