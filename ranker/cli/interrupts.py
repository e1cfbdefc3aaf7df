"""Ctrl-C, whatever it meets on its way.

Python raises KeyboardInterrupt where the signal arrives. Libraries make something else of it: DuckDB raises a
RuntimeError, code in Rust panics, a finaliser or a bare `except:` drops it. So its arrival is remembered.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_arrived = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Inside, an interrupt raises KeyboardInterrupt as ever, and `interruptible` knows of it.

    Nothing changes where SIGINT is ignored or has another handler, or outside the main thread, where none can
    be set.
    """
    forget()
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _remember(number: int, frame: FrameType | None) -> None:
    _arrived.set()
    signal.default_int_handler(number, frame)


def forget() -> None:
    """The interrupt is dealt with: what comes after it is not stopped."""
    _arrived.clear()


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if an interrupt has arrived, whatever has become of it inside."""
    try:
        yield
    except BaseException:
        if _arrived.is_set():
            raise KeyboardInterrupt from None
        raise
    if _arrived.is_set():
        raise KeyboardInterrupt
