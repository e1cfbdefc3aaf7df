"""A user forgotten: in the lake's tables and files, and in the logs of servers.

What goes: rows with the user's id; the requests that the user made or that only this user's feedback is
about; users' histories that were read as data (`interactions`), and the candidate sets, traces and episodes
made of them. The lake's files are written anew without them and every earlier snapshot is dropped, as it
would still hold them: the past cannot be asked or reproduced any more. What stays: models that were trained,
and the data that `ingest` reads, which brings the user back.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ranker.errors import BadConfig
from ranker.lake import Lake
from ranker.lake.attach import catalog
from ranker.serving.collect import feedback_folder, folder
from ranker.types import JsonObject


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Rows by table, and lines of logs."""

    rows: dict[str, int]
    lines: int

    @property
    def table(self) -> pl.DataFrame:
        every = {**self.rows, "(logs of servers)": self.lines}
        return pl.DataFrame({"table": list(every), "rows": list(every.values())}).filter(pl.col("rows") > 0)


def forget(lake: Lake, user: str, *, apply: bool) -> Forgotten:
    """What goes, and with `apply` its going. A second run finds what a killed one has left.

    Raises:
        BadConfig: a server writes one of the logs, or the user has no name.
    """
    if not user.strip():
        raise BadConfig("a user to forget has a name", seen=repr(user), remedy="name one")
    with ExitStack() as held:
        logs = [_Log(held, path) for path in _paths(lake.home)]
        sets = {name for log in logs for name in log.sets(user)}
        found = lake.named("forget/ids", {"user": user, "sets": sorted(sets)})
        every = sets | set(found.filter(column="set_id")["value"])
        lines = sum(log.count(user, every) for log in logs)
        rows = lake.erase(found, apply=apply)
        if apply:
            for log in logs:
                log.rewrite(user, every)
            _rewrite(lake)
    return Forgotten(rows, lines)


def _paths(home: Path) -> list[Path]:
    return [
        path
        for where in (folder(home), feedback_folder(home))
        for path in sorted([*where.glob("*.jsonl"), *where.glob("*.jsonl.refused")])
    ]


class _Log:
    """A file of a log, held so that nobody writes or collects it meanwhile."""

    def __init__(self, held: ExitStack, path: Path) -> None:
        self.path = path
        file = held.enter_context(path.open(encoding="utf-8"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadConfig(
                "a log is let go before anybody is forgotten in it",
                seen=f"{path} is being written or collected",
                remedy="stop `ranker serve --log`, and try again",
            ) from error
        self._lines = file.read().splitlines(keepends=True)

    def sets(self, user: str) -> Iterator[str]:
        """Requests that are this user's."""
        return (one["set_id"] for one in map(_read, self._lines) if one.get("user_id") == user)

    def count(self, user: str, sets: set[str]) -> int:
        return sum(_is_of(line, user, sets) for line in self._lines)

    def rewrite(self, user: str, sets: set[str]) -> None:
        kept = [line for line in self._lines if not _is_of(line, user, sets)]
        if len(kept) == len(self._lines):
            return
        if not kept:
            self.path.unlink()
            return
        part = self.path.with_name(f"{self.path.name}.part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.path)


def _is_of(line: str, user: str, sets: set[str]) -> bool:
    """Also of a line that a killed server has left unfinished: nothing can be said of it, so it goes with
    anything that holds the name.
    """
    one = _read(line)
    return (one.get("user_id") == user or one.get("set_id") in sets) if one else user in line


def _read(line: str) -> JsonObject:
    try:
        return json.loads(line)
    except ValueError:
        return {}


def _rewrite(lake: Lake) -> None:
    """The lake's files without what was deleted, and no snapshot that had it."""
    for step in ("forget/flush", "forget/rewrite", "forget/expire", "forget/clean", "forget/statistics"):
        lake.maintain(step)
    found = catalog(lake.home, lake.uri)
    if found.uri.startswith("ducklake:sqlite:"):  # its free pages keep what was deleted
        with closing(sqlite3.connect(found.file, timeout=60)) as opened:
            opened.execute("vacuum")
