"""The rankings of an evaluation as a TREC run file, for trec_eval and whatever else reads one.

Six columns a row: query, Q0, document, rank, score, tag. The score is how many of the pool stand at or behind
a place, so that trec_eval, which sorts by score, has the order that was ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ranker.errors import BadConfig, BadSource, StageMissing
from ranker.lake import Lake
from ranker.types import JsonObject

PARTS = ("task", "arm", "strategy", "thinking")
"""What names a way of one evaluation."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which of an evaluation's rankings; an empty name (None) leaves a part open where there is but one."""

    task: str = ""
    arm: str = ""
    strategy: str = ""
    thinking: bool | None = None


def write(lake: Lake, key: str, chosen: Chosen, path: Path) -> JsonObject:
    """Write the run file of one way of the evaluation `key`; what it holds: task, arm, strategy, thinking,
    queries, rows.

    Raises:
        StageMissing: the evaluation ranked nothing by a model, or is not there.
        BadConfig: no way, or more than one, is as `chosen` says.
        BadSource: an id holds a space, which the format has no place for.
    """
    way = _way(lake, key, chosen)
    rows = lake.named("report/run", {"batch_id": key, **{part: way[part] for part in PARTS}})
    _require_words(rows)
    tag = "-".join([way["arm"], way["strategy"], "think" if way["thinking"] else "no-think"])
    run = rows.with_columns((pl.col("place").max().over("query_id") - pl.col("place") + 1).alias("score"))
    lines = run.select(pl.format("{} Q0 {} {} {} {}", "query_id", "item_id", "place", "score", pl.lit(tag)))
    part = path.with_name(f"{path.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines.to_series()), encoding="utf-8")
    part.replace(path)
    return {part: way[part] for part in PARTS} | {"queries": rows["query_id"].n_unique(), "rows": rows.height}


def _way(lake: Lake, key: str, chosen: Chosen) -> JsonObject:
    ways = lake.named("report/ways", {"batch_id": key}).to_dicts()
    if not ways:
        raise StageMissing(
            "a run file holds the rankings of a finished evaluation",
            seen=f"no episode of {key!r}",
            remedy='give the key of an evaluation: `ranker query "select * from stage_runs"`',
        )
    fitting = [way for way in ways if _fits(way, chosen)]
    if len(fitting) != 1:
        raise BadConfig(
            "a run file holds one way of ranking one task",
            seen=f"{len(fitting)} of {key} fit: {_said(fitting or ways)}",
            remedy="choose with --task, --arm, --strategy and --think or --no-think",
        )
    return fitting[0]


def _fits(way: JsonObject, chosen: Chosen) -> bool:
    asked = {part: getattr(chosen, part) for part in PARTS}
    return all(value in ("", None) or way[part] == value for part, value in asked.items())


def _said(ways: Sequence[JsonObject]) -> str:
    return "; ".join(
        f"{way['task']} {way['arm']} {way['strategy']} {'think' if way['thinking'] else 'no-think'}"
        for way in ways
    )


def _require_words(rows: pl.DataFrame) -> None:
    for column in ("query_id", "item_id"):
        spaced = rows.filter(pl.col(column).str.contains(r"\s"))
        if spaced.height:
            raise BadSource(
                "ids in a TREC run hold no space",
                seen=f"{column} {spaced[column][0]!r}",
                remedy="give the collection ids without spaces",
            )
