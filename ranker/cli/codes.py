"""Exit codes of every command (docs/cli.md), and what an error that nobody expected becomes."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from enum import IntEnum

from ranker.errors import FAULTY, LATER, REFUSED, RankerError, Unforeseen, by_disk


class Code(IntEnum):
    """What a command ends with."""

    done = 0
    no = 1
    """Done, and the answer is no: a claim does not hold, something was found."""
    refused = REFUSED
    faulty = FAULTY
    later = LATER
    stopped = 128 + signal.SIGINT
    """By Ctrl-C, as shells have it."""
    unread = 128 + signal.SIGPIPE
    """Whoever read the output is gone."""


def known(error: Exception) -> RankerError:
    """An error as rule, what was seen, and remedy. One that nothing here expects leaves its traceback in a
    file, as what it interrupted may have taken hours.
    """
    return error if isinstance(error, RankerError) else by_disk(error) or _unforeseen(error)


def _unforeseen(error: Exception) -> Unforeseen:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" in {where[0].filename}:{where[0].lineno}" if where else ""
    said = f"{type(error).__name__}: {error}"[:500]
    remedy = (
        "the same command with --debug before its name shows the traceback; report it: what is done stays"
    )
    with suppress(OSError):
        kept, path = tempfile.mkstemp(prefix="ranker-", suffix=".log", text=True)
        with os.fdopen(kept, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
        remedy = f"report it with its traceback, which is in {path}; what is done stays"
    return Unforeseen("this is a fault of the program", seen=said + place, remedy=remedy)


def nobody_reads() -> None:
    """Let what is still in the buffer of standard output go nowhere: Python writes it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
