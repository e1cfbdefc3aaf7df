"""How far work is that takes more than some seconds: what is done, at what rate, how long the rest will take.

Whoever works opens a `Progress` and says what is done. Who shows it is another's affair: a line of the log
every now and then, and on a terminal one line that renews itself (ranker/cli/live.py).
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self, TypeVar

T = TypeVar("T")
Log = Callable[[str], None]
FIRST, EVERY = 5.0, 30.0
"""Seconds until the first line of the log, and between two."""
MIB = 2**20


class Screen(Protocol):
    """What shows the work at hand on a terminal."""

    def changed(self, work: tuple[Progress, ...]) -> None:
        """`work` is what is open now, the outermost first; empty where all is done."""

    def logs(self, line: str) -> None:
        """`line` goes to the log now: the terminal has it already."""


_open: list[Progress] = []
_lock = threading.RLock()
_log: Log = logging.getLogger("ranker.progress").info
_screen: Screen | None = None


def show(screen: Screen | None, log: Log | None = None) -> None:
    """Have all progress of this process shown on `screen`, and what no log of its own takes told to `log`."""
    global _screen, _log
    _screen, _log = screen, log or logging.getLogger("ranker.progress").info


def made(unit: str, parts: float = 1) -> None:
    """`parts` more of the innermost work that counts in `unit`: for whoever makes them far below the block
    that counts them. Nothing where none does.
    """
    for work in reversed(_open):
        if work.unit == unit:
            work.done(parts=parts)
            return


def remaining(seconds: float) -> str:
    """Time that is left, as people are told it."""
    if seconds >= 5_400:
        return f"about {seconds / 3_600:.1f} h left"
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


def rate(per_second: float, unit: str = "") -> str:
    """Parts in a time in which there is one, or bytes."""
    if unit == "B":
        return f"{per_second / MIB:.1f} MiB/s"
    for seconds, name in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:,.1f}/{name}"
    return f"{per_second * 3_600:,.1f}/h"


class Progress:
    """A piece of work that is under way, for as long as the block lasts.

    By the pace of the parts that were made: parts that were there already count, and say nothing of the pace.

    Args:
        what: it is, in words.
        total: parts; None where they cannot be counted, and only the time so far is said.
        log: takes a line every now and then; None for the process's own (`show`).
        unit: of a part; "B" for bytes.

    Attributes:
        note: stands for what was counted, where another process counts.
    """

    def __init__(
        self, what: str, total: float | None = None, log: Log | None = None, *, unit: str = ""
    ) -> None:
        self.what, self.total, self.unit, self.count = what, total, unit, 0.0
        self.note = ""
        self._made, self._log, self._began, self._over = 0.0, log, time.monotonic(), threading.Event()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        with _lock:
            _open.append(self)
            _changed()
        # in the caller's context: Prefect knows by it whose line it is
        work = contextvars.copy_context()
        threading.Thread(target=work.run, args=(self._tell,), daemon=True, name="progress").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with _lock:
            _open.remove(self)
            _changed()

    def done(self, made: bool = True, parts: float = 1) -> None:
        """`parts` more; `made`: they were not there already."""
        self.count += parts
        self._made += parts if made else 0

    def at(self, count: float) -> None:
        """So many are there by now; none is lost."""
        self.done(parts=max(0.0, count - self.count))

    def over(self, parts: Iterable[T]) -> Iterator[T]:
        """The parts, one after another, each done when the next is asked for."""
        for part in parts:
            yield part
            self.done()

    @property
    def line(self) -> str:
        """What is done, the rate, and the time that is left; or the time so far."""
        if self.note:
            return f"{self.what}: {self.note}"
        took, pace = time.monotonic() - self._began, self._pace()
        parts = [self._counted()] if self.count or self.total else []
        parts += [rate(pace, self.unit)] if pace else [f"{took:,.0f} s so far"]
        if pace and self.total is not None and self.count < self.total:
            parts.append(remaining((self.total - self.count) / pace))
        return f"{self.what}: {', '.join(parts)}"

    @property
    def brief(self) -> str:
        """What it is, and how much of it is done."""
        return self.what if self.total is None else f"{self.what} {self.count:,.0f}/{self.total:,.0f}"

    def _pace(self) -> float:
        took = time.monotonic() - self._began
        return self._made / took if took > 0 else 0.0

    def _counted(self) -> str:
        of = self.count / self.total if self.total else 0.0
        if self.unit == "B":
            have = f"{self.count / MIB:,.1f}"
            return f"{have} of {self.total / MIB:,.1f} MiB ({of:.0%})" if self.total else f"{have} MiB"
        return f"{self.count:,.0f} of {self.total:,.0f}" if self.total is not None else f"{self.count:,.0f}"

    def _tell(self) -> None:
        pause = FIRST
        while not self._over.wait(pause):
            with _lock:
                if not _open or _open[-1] is not self:  # what goes on within it speaks
                    continue
                line, pause = self.line, EVERY
                if _screen is not None:
                    _screen.logs(line)
                (self._log or _log)(line)


def _changed() -> None:
    if _screen is not None:
        _screen.changed(tuple(_open))
