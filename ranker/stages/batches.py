"""Rankings that are kept as they are made: a file of episodes and one of steps a batch of queries, in the
stage's job folder, until the lake takes them all in one transaction.

So memory does not grow with the queries, and a stage that is killed goes on behind the last whole batch. Not
rows of the lake before the end: there they would be an evaluation that its contract has not judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from ranker.refs import digest
from ranker.strategies.episodes import EPISODES, Tables

T = TypeVar("T")
TABLES = ("steps", "episodes")
"""In the order in which they are written: a batch is whole once its episodes are there."""


class Batches:
    """The batches of one run of a stage, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = 0
        """Batches that an earlier run had made."""
        self._names: list[str] = []
        self._put: set[str] = set()

    def has(self, what: object) -> bool:
        """Whether the batch is there."""
        return self._path("episodes", digest(what)).is_file()

    def put(self, what: object, tables: Tables) -> None:
        """Write a batch that somebody else has made; `keep` finds it, and says when its turn is."""
        self._write(digest(what), tables)
        self._put.add(digest(what))

    def keep(self, what: object, make: Callable[[], Tables]) -> bool:
        """The batch that `what` identifies: as an earlier run has left it, else as `make` gives it.

        Returns:
            Whether this run has made it.
        """
        name = digest(what)
        self._names.append(name)
        if self._path("episodes", name).is_file():
            put = name in self._put
            self.found += not put
            return put
        self._write(name, make())
        return True

    def paths(self, table: str) -> list[Path]:
        """The files of a table, in the order in which they were kept."""
        return [self._path(table, name) for name in self._names]

    def episodes(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of all episodes; the texts stay on disk."""
        found = self.paths("episodes")
        if not found:
            return pl.DataFrame(schema=EPISODES).select(columns)
        return pl.concat([pl.read_parquet(path, columns=list(columns)) for path in found]).select(columns)

    def clear(self) -> None:
        """Forget them: the lake has them, or they are to be made again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, tables: Tables) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for table in TABLES:
            part = self._path(table, name).with_suffix(".part")
            tables[table].write_parquet(part)
            part.replace(self._path(table, name))

    def _path(self, table: str, name: str) -> Path:
        return self.folder / f"{table}-{name}.parquet"


def in_batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`size` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def made(work: Iterable[tuple[object, Callable[[], Tables]]]) -> Iterator[Tables]:
    """Each batch as it is made, kept by nobody."""
    return (make() for _, make in work)
