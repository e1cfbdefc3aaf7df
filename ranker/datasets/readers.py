"""Readers by name.

A reader is a module with `read(task, location) -> Bundle` and `digest(task, location) -> str` (the identity
of its input, so that re-ingesting the same adds nothing). A malformed input raises BadSource with file and
row.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import polars as pl

from ranker.config import Task
from ranker.datasets import (
    beir,
    contents,
    graphrouter,
    ir_collection,
    lastfm,
    llmrank,
    llmrouter,
    movietweetings,
    msmarco,
    pydoc,
    recbole,
    synthetic,
    tables,
    trec,
)
from ranker.datasets.bundle import Bundle
from ranker.datasets.values import LOST, flat
from ranker.errors import BadConfig, BadSource

# Imported here and not by name when asked for: a stage's identity follows imports.
READERS: dict[str, ModuleType] = {
    "beir": beir,
    "graphrouter": graphrouter,
    "ir_collection": ir_collection,
    "lastfm": lastfm,
    "llmrank": llmrank,
    "llmrouter": llmrouter,
    "movietweetings": movietweetings,
    "msmarco": msmarco,
    "pydoc": pydoc,
    "recbole": recbole,
    "synthetic": synthetic,
    "tables": tables,
    "trec": trec,
}
TIMED = ("movietweetings", "recbole")
"""Readers that give every interaction the time at which it happened. LLMRank's sequences have an order and no
times, and of Last.fm's meetings only those with a tag have one.
"""


def read(task: Task, location: Path | None) -> Bundle:
    """Read one task's source. Whatever reader: texts are one line each, what has no title shows its id and
    what has no text its title, and texts that hold U+FFFD are counted in `left_out`.

    Raises:
        BadSource: a file is missing, empty or malformed; names file, row and remedy.
        BadConfig: there is no such reader.
    """
    return _finished(task, _reader(task).read(task, location))


def _finished(task: Task, found: Bundle) -> Bundle:
    title = pl.when(flat("title") == "").then(flat("item_id")).otherwise(flat("title")).alias("title")
    shown = pl.when(flat("text") == "").then("title").otherwise(flat("text")).alias("text")
    items = found.items.with_columns(title).with_columns(shown)
    queries = found.queries.with_columns(flat("text"))
    if items.is_empty() or not found.rows_read:
        raise BadSource(
            f"task {task.name}: its source must hold something to rank and to learn from",
            seen=f"{items.height} items and {found.rows_read} interactions or judgements in {found.location}",
            remedy=f"name the right folder with ingest.locations.{task.name}",
        )
    lossy = pl.any_horizontal(pl.col("^title$", "text").str.contains(LOST, literal=True))
    lost = items.filter(lossy).height + queries.filter(lossy).height
    counted = {"texts with characters that are none, read as U+FFFD": lost} if lost else {}
    return replace(
        found,
        items=items,
        queries=queries,
        location=contents.shown(found.location),
        left_out={**found.left_out, **counted},
    )


def digest(task: Task, location: Path | None) -> str:
    """Identity of one task's source: equal content gives an equal digest, wherever it lies.

    Raises:
        BadSource: a file is missing.
    """
    return _reader(task).digest(task, location)


def timed(task: Task) -> bool:
    """Whether every interaction of the task's source has the time at which it happened."""
    return tables.timed(task) if task.reader == "tables" else task.reader in TIMED


def readers() -> list[str]:
    """Names of all readers."""
    return sorted(READERS)


def _reader(task: Task) -> ModuleType:
    if task.reader not in readers():
        raise BadConfig(
            f"task {task.name}: its reader must exist",
            seen=repr(task.reader),
            remedy=f"choose one of {', '.join(readers())}",
        )
    return READERS[task.reader]
