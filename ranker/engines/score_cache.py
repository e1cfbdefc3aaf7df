"""Scores that a likelihood policy has given before, kept on disk from run to run: evaluations on the same
frozen queries and servers that are asked again read nothing twice.

Never stale: the key of an entry is the digest of the weights' and the tokenizer's files, the precision, and
the texts themselves as the template has filled them. Bounded: the entries that were not asked for longest go
first. One SQLite file, which several processes may use at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ranker.engines.base import Likely
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.policy.prompts import Style
from ranker.refs import digest, file_digest

DECISIVE = ("*.safetensors", "config.json", "tokenizer*.json")
"""Files of a model folder that decide its scores."""
FOLDER, FILE = "cache", "scores.sqlite"
ENTRY_BYTES = 160
"""Of one entry with its index, about: what a limit in MiB is reckoned in."""
BUSY_SECONDS = 30.0
CHUNK = 500
"""Keys of one statement; SQLite takes a bounded number of variables."""
_TABLE = """
create table if not exists scores (key text primary key, found text not null, used integer not null);
create index if not exists scores_by_use on scores (used);
create table if not exists clock (now integer not null);
insert into clock select 0 where not exists (select * from clock);
"""


def identity(folder: Path, *how: object) -> str:
    """Digest of all that decides a score but its texts: the folder's files, and how they are computed with
    (precision, kind of device).
    """
    files = sorted(path for pattern in DECISIVE for path in folder.glob(pattern))
    return digest({path.name: file_digest(path) for path in files}, *map(str, how))


class Remembered:
    """A likelihood engine with such a cache before it; `asked` and `known` count the contexts so far.

    Args:
        identity: digest of all that decides a score but the texts.
        mebibytes: what the file may hold; more than that is forgotten after each call that adds to it.
    """

    style: Style = "likelihood"

    def __getattr__(self, name: str) -> Any:
        """All else is the engine's, such as `batch` and `calibrations`."""
        return getattr(self.__dict__["_engine"], name)

    def __init__(self, engine: Likely, home: Path, identity: str, mebibytes: int) -> None:
        self._engine, self._identity = engine, identity
        self._path, self._most = home / FOLDER / FILE, max(1, mebibytes * 2**20 // ENTRY_BYTES)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.context = engine.name, engine.context
        self.temperatures: Mapping[str, float] = engine.temperatures
        self.asked = self.known = 0
        with self._opened() as connection:
            connection.executescript(_TABLE)

    def count(self, text: str) -> int:
        """As the engine."""
        return self._engine.count(text)

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """As the engine, which is asked only what is not known."""
        keys = [digest(self._identity, one.context, list(one.continuations)) for one in branches]
        with self._opened() as connection:
            found = dict(self._read(connection, dict.fromkeys(keys)))
            new = {key: one for key, one in zip(keys, branches, strict=True) if key not in found}
            made = dict(zip(new, self._engine.loglikelihood(list(new.values())), strict=True)) if new else {}
            self._write(connection, found, made)
        self.asked += len(keys)
        self.known += len(keys) - len(new)
        return [(found | made)[key] for key in keys]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as connection:
            connection.execute("pragma journal_mode = wal")
            with connection:
                yield connection

    def _read(
        self, connection: sqlite3.Connection, keys: Iterable[str]
    ) -> Iterator[tuple[str, list[LogLikelihood]]]:
        wanted = list(keys)
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            rows = connection.execute(f"select key, found from scores where key in ({marks})", part)
            for key, found in rows:
                yield key, [LogLikelihood(*one) for one in json.loads(found)]

    def _write(
        self,
        connection: sqlite3.Connection,
        found: Mapping[str, list[LogLikelihood]],
        made: Mapping[str, list[LogLikelihood]],
    ) -> None:
        (now,) = connection.execute("update clock set now = now + 1 returning now").fetchone()
        connection.executemany("update scores set used = ? where key = ?", [(now, key) for key in found])
        connection.executemany(
            "insert or replace into scores values (?, ?, ?)",
            [(key, json.dumps([(x.logprob, x.tokens) for x in own]), now) for key, own in made.items()],
        )
        if not made:  # counting takes longer than all else where everything is known
            return
        (held,) = connection.execute("select count(*) from scores").fetchone()
        if held > self._most:
            connection.execute(
                "delete from scores where key in (select key from scores order by used, key limit ?)",
                (held - self._most,),
            )
