"""Served episodes on their way to the lake: lines of JSON in files of their own, so that ranking never waits
for the lake.

A file is locked for as long as a server writes it. Closed by the server or left by one that was killed,
`ranker collect` takes it (ranker/serving/collect.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ranker.serving.explore import Order
from ranker.types import CandidateSet, Episode, Fields, JsonObject

log = logging.getLogger("ranker.serving")


class RequestLog:
    """Appends to one file at a time in `folder`.

    Args:
        holds: what its lines are, for the warning that they are dropped.
        mask: what is written of a line (`privacy.masker`).
    """

    def __init__(
        self,
        folder: Path,
        holds: str = "served episodes",
        mask: Callable[[Fields], Fields] = lambda line: line,
    ) -> None:
        self.folder, self._holds, self._mask = folder, holds, mask
        self._file: TextIO | None = None
        self._failing = False

    def add(self, record: Fields) -> bool:
        """One line, handed to the operating system before this returns.

        False where the disk does not take it (full, read-only, gone): a request is answered all the same. The
        next line begins another file, as this one may end within a line.
        """
        line = json.dumps(self._mask(record), ensure_ascii=False) + "\n"
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            if not self._failing:  # once, until it works again: a full disk must not fill the server's log
                log.warning("the request log cannot be written, %s are dropped: %s", self._holds, error)
            self._failing = True
            self.close()
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """Leave the file to `ranker collect`. The next line begins another."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written cannot be now
                file.close()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to collect, also of another server's."""
        return any(self.folder.glob("*.jsonl"))

    def _opened(self) -> TextIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / f"{time.time_ns()}-{os.getpid()}.jsonl").open("w", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file


SHADOW = "shadow"
"""The arm of a shadow's episodes; lines of the request log that have none are what was answered."""


def record(
    given: CandidateSet,
    episode: Episode,
    shown: Order,
    *,
    at: datetime,
    milliseconds: float,
    model: str,
    version: str,
    user: str | None = None,
) -> JsonObject:
    """A served episode as one line.

    Args:
        shown: what the client got of the ranking.
        at: when the request came.
        milliseconds: from there to the answer.
        model: as episodes.model.
        version: registered version, or empty.
    """
    return {
        "set_id": given.set_id,
        "served_at": at.isoformat(),
        "task": given.task,
        "query": given.query,
        "query_items": list(given.query_items),
        "model": model,
        "version": version,
        "milliseconds": milliseconds,
        "user_id": user,
        "order": {
            "shown": list(shown.labels),
            "share": shown.share,
            "depth": shown.depth,
            "drawn": shown.drawn,
            "propensity": shown.propensity,
            "teams": None if shown.teams is None else list(shown.teams),
        },
        "candidates": [{"label": c.label, "item_id": c.item_id, "text": c.text} for c in given.candidates],
        **_ranking(episode),
    }


def shadow_record(
    given: CandidateSet, episode: Episode, *, milliseconds: float, model: str, version: str
) -> JsonObject:
    """What a shadow made of a request whose own line is in the log already, as one line.

    Args:
        milliseconds: of the ranking alone.
        model: as episodes.model.
        version: registered version, or empty.
    """
    return {
        "arm": SHADOW,
        "set_id": given.set_id,
        "task": given.task,
        "model": model,
        "version": version,
        "milliseconds": milliseconds,
        "pool": list(given.labels),
        **_ranking(episode),
    }


def _ranking(episode: Episode) -> JsonObject:
    return {
        "strategy": episode.strategy,
        "thinking": episode.thinking,
        "ranking": list(episode.ranking),
        "steps": [asdict(step) for step in episode.steps],
    }
