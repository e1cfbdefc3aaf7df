"""Progress on a terminal: one line that renews itself, below what is logged and printed meanwhile."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ranker import progress

if TYPE_CHECKING:
    from ranker.progress import Progress

A_SECOND = 4
"""Times that the line is renewed."""


class Line:
    """The innermost work, behind the names of what it is a part of."""

    def __init__(self, own: Console) -> None:
        self._own, self._live = own, None
        self._work: tuple[Progress, ...] = ()
        self._said = ""
        self._handlers: list[logging.Handler] = []

    @property
    def console(self) -> Console:
        """Where to print above the line."""
        return self._own if self._live is None else self._live.console

    def changed(self, work: tuple[Progress, ...]) -> None:
        """As `ranker.progress.Screen` has it."""
        self._work = work
        if work and self._live is None:
            self._handlers = [one for one in logging.getLogger().handlers if hasattr(one, "console")]
            # lines of a console of its own (Prefect's) would be written into ours
            self._live = Live(
                console=getattr(self._handlers[0], "console") if self._handlers else self._own,  # noqa: B009
                get_renderable=self.text,
                refresh_per_second=A_SECOND,
                transient=True,
            )
            for handler in self._handlers:
                handler.addFilter(self._fresh)
            self._live.start()
        elif not work:
            self.end()

    def logs(self, line: str) -> None:
        """As `ranker.progress.Screen` has it."""
        self._said = line

    def end(self) -> None:
        """Take the line away, whatever is open."""
        live, self._live, self._work = self._live, None, ()
        if live is not None:
            live.stop()
            for handler in self._handlers:
                handler.removeFilter(self._fresh)

    def text(self) -> Text:
        """The line as it is now."""
        outer, inner = self._work[:-1], self._work[-1:]
        parts = [one.brief for one in outer] + [one.line for one in inner]
        return Text(" › ".join(parts), no_wrap=True, overflow="ellipsis", end="")

    def _fresh(self, record: logging.LogRecord) -> bool:
        """Whether a log's line says more than the terminal shows."""
        with suppress(Exception):
            return record.getMessage() != self._said
        return True


_line: Line | None = None


def begin(own: Console) -> None:
    """Show this process's progress: on `own` where it is a terminal, else as plain lines there.

    A terminal that cannot go back (TERM=dumb), or whose owner wants nothing but text (NO_COLOR), gets the
    plain lines, too.
    """
    global _line
    renews = own.is_terminal and not own.is_dumb_terminal and not os.environ.get("NO_COLOR")
    _line = Line(own) if renews else None
    progress.show(_line, _hushed if renews else own.print)


def end() -> None:
    """Show nothing any more; what a mistake has left open goes, too."""
    global _line
    if _line is not None:
        _line.end()
    _line = None
    progress.show(None)


def above() -> Console | None:
    """The console whose lines come above the one that renews itself; None where there is none."""
    return None if _line is None else _line.console


def _hushed(line: str) -> None:
    """The terminal shows it."""
