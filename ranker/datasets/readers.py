"""Readers by name.

A reader is a module with `read(task, location) -> Bundle` and `digest(task, location) -> str` (the identity
of its input, so that re-ingesting the same adds nothing). A malformed input raises BadSource with file and
row.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ranker.config import Task
from ranker.datasets import (
    beir,
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
    trec,
)
from ranker.datasets.bundle import Bundle
from ranker.errors import BadConfig

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
    "trec": trec,
}


def read(task: Task, location: Path | None) -> Bundle:
    """Read one task's source.

    Raises:
        BadSource: a file is missing, empty or malformed; names file, row and remedy.
        BadConfig: there is no such reader.
    """
    return _reader(task).read(task, location)


def digest(task: Task, location: Path | None) -> str:
    """Identity of one task's source: equal content gives an equal digest, wherever it lies.

    Raises:
        BadSource: a file is missing.
    """
    return _reader(task).digest(task, location)


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
