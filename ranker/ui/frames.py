"""What the pages show, as frames: questions to the lake, and a training's log while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ranker.errors import RankerError
from ranker.lake import Lake
from ranker.train import curves as training

MOST = 200
"""Rows of a list of episodes."""
OUTCOMES = ("gold first", "gold not first", "an invalid answer")
ALIVE_SECONDS = 120.0
"""A trainer that gave no sign for so long is not shown as running."""


class Arm(NamedTuple):
    """A way of ranking, as the columns of `episodes` say it."""

    arm: str
    strategy: str
    thinking: bool

    def __str__(self) -> str:
        return f"{self.arm}, {self.strategy}{', thinking' if self.thinking else ''}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, and the batch of candidate sets that it ranked."""

    batch_id: str
    candidates: str
    title: str


@dataclass(frozen=True, slots=True)
class Live:
    """A training that runs now: what it says, and what it has logged."""

    key: str
    text: str
    curves: pl.DataFrame
    """phase, step, name, value."""


def evaluations(lake: Lake) -> list[Evaluation]:
    """All evaluations, the latest first."""
    return [
        Evaluation(row["batch_id"], _candidates(lake, row["batch_id"]), _title(row))
        for row in lake.named("ui/evaluations").iter_rows(named=True)
    ]


def _title(row: dict[str, object]) -> str:
    return f"{row['finished_at']:%Y-%m-%d %H:%M} · {row['tasks']} · {row['batch_id']}"


def _candidates(lake: Lake, batch_id: str) -> str:
    found = lake.named("ui/candidates_of", {"batch_id": batch_id})
    return found.item(0, 0) if found.height else ""


def arms(lake: Lake, evaluation: Evaluation) -> dict[str, list[Arm]]:
    """Task → the ways in which its queries were ranked."""
    found: dict[str, list[Arm]] = {}
    for task, *way in lake.named("ui/arms", {"batch_id": evaluation.batch_id}).iter_rows():
        found.setdefault(task, []).append(Arm(*way))
    return found


def episodes(
    lake: Lake, evaluation: Evaluation, task: str, way: Arm, outcome: str | None = None, text: str = ""
) -> pl.DataFrame:
    """The worst MOST episodes of a way, of those with this outcome and this text in query or candidates."""
    given = {
        "candidates": evaluation.candidates,
        "batch_id": evaluation.batch_id,
        "task": task,
        **way._asdict(),
    }
    return _asked(
        lake,
        task,
        lake.named("ui/episodes", {**given, "outcome": outcome, "text": text or None, "most": MOST}),
    )


def differences(lake: Lake, evaluation: Evaluation, task: str, one: Arm, other: Arm) -> pl.DataFrame:
    """The MOST queries on which two ways differ most in reciprocal rank."""
    given = {
        "candidates": evaluation.candidates,
        "batch_id": evaluation.batch_id,
        "task": task,
        **one._asdict(),
        **{f"other_{name}": value for name, value in other._asdict().items()},
    }
    return _asked(lake, task, lake.named("ui/differences", {**given, "most": MOST}))


def _asked(lake: Lake, task: str, frame: pl.DataFrame) -> pl.DataFrame:
    """With the history's titles as the query, where the history asks."""
    items = sorted({item for history in frame["query_items"].to_list() for item in history or []})
    titles = _titles(lake, task, items)
    shown = [
        query or "; ".join(str(titles.get(item, item)) for item in history or [])
        for query, history in frame.select("query", "query_items").iter_rows()
    ]
    return frame.with_columns(pl.Series("query", shown, dtype=pl.String)).drop("query_items")


def _titles(lake: Lake, task: str, items: Sequence[str]) -> dict[str, str]:
    if not items:
        return {}
    return dict(lake.named("ui/titles", {"items": list(items), "task": task}).iter_rows())


# -- one episode


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode as it is told: its facts, its query, its candidates by final rank, its calls."""

    facts: dict[str, object]
    query: str
    candidates: pl.DataFrame
    """rank, label, text, relevance."""
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One model call: the pool with what the model thought of it, and what came of it."""

    facts: dict[str, object]
    pool: pl.DataFrame
    """label, text, relevance, what (excluded, named), and score and probability where the model gave them."""


def episode(lake: Lake, evaluation: Evaluation, episode_id: str) -> Episode | None:
    """One episode of an evaluation; None where there is none of this id."""
    key = {"batch_id": evaluation.batch_id, "episode_id": episode_id}
    found = lake.named("ui/episode", key)
    if found.is_empty():
        return None
    facts = found.row(0, named=True)
    place = {"candidates": evaluation.candidates, "set_id": facts["set_id"]}
    pool = lake.named("ui/pool", place)
    asked = lake.named("ui/query", place).with_columns(pl.lit(0.0).alias("rr"))
    query = _asked(lake, str(facts["task"]), asked)["query"].to_list()
    rank = {label: number for number, label in enumerate(facts["ranking"], start=1)}
    ranked = pool.with_columns(
        pl.Series("rank", [rank.get(label) for label in pool["label"]], dtype=pl.Int64)
    )
    calls = [_call(row, pool) for row in lake.named("ui/steps", key).iter_rows(named=True)]
    return Episode(
        facts,
        query[0] if query else "",
        ranked.select("rank", "label", "text", "relevance").sort("rank", nulls_last=True),
        tuple(calls),
    )


def _call(row: dict[str, object], pool: pl.DataFrame) -> Call:
    labels: list[str] = row["pool"]  # type: ignore[assignment]
    named: list[str] = row["taken"]  # type: ignore[assignment]
    word = "excluded" if row["mode"] == "exclude" else "named"
    shown = pl.DataFrame({"label": labels}).join(pool, on="label", how="left", maintain_order="left")
    columns = [pl.Series("what", [_what(label, named, word) for label in labels], dtype=pl.String)]
    scores: list[float] | None = row["scores"]  # type: ignore[assignment]
    if scores:
        sign = -1.0 if row["mode"] == "exclude" else 1.0
        scaled = pl.Series("z", scores, dtype=pl.Float64) * sign / float(row["temperature"] or 1.0)  # type: ignore[arg-type]
        weight = (scaled - scaled.max()).exp()
        columns += [
            pl.Series("score", scores, dtype=pl.Float64),
            (weight / weight.sum()).alias(f"probability of being {word}"),
        ]
    return Call(row, shown.select("label", "text", "relevance").with_columns(columns))


def _what(label: str, named: Sequence[str], word: str) -> str:
    if label not in named:
        return ""
    return word if len(named) == 1 else f"{word} {named.index(label) + 1}"


# -- a training


def curves(lake: Lake, batch_id: str) -> pl.DataFrame:
    """phase, step, name, value of a finished training."""
    return lake.named("ui/curves", {"batch_id": batch_id})


def running(home: Path) -> list[Live]:
    """Trainings that give signs of life, with what their logs hold."""
    found: list[Live] = []
    for beat in sorted((home / "jobs").glob("*/heartbeat.json")):
        try:
            said = json.loads(beat.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # written this very moment, or gone
            continue
        if time.time() - float(said["at"]) < ALIVE_SECONDS:
            found.append(Live(beat.parent.name, str(said["text"]), training.read(beat.parent)))
    return found


def question(lake: Lake, sql: str) -> pl.DataFrame | RankerError:
    """The answer to a statement that somebody typed, or what is wrong with it."""
    try:
        return lake.query(sql)
    except RankerError as error:
        return error
