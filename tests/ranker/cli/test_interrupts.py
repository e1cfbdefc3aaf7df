"""Ctrl-C stops what it is to stop, whatever a library has made of it; here the signal is real."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import duckdb
import pytest

from ranker.cli.interrupts import forget, interruptible, remembered


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def dropped() -> None:
    with suppress(BaseException):
        interrupt()


def turned_into_another() -> None:
    try:
        interrupt()
    except KeyboardInterrupt as error:
        raise RuntimeError("Query interrupted") from error


def ended_in_its_own_way() -> None:
    try:
        interrupt()
    except KeyboardInterrupt as error:
        raise SystemExit(1) from error


def in_a_query() -> None:
    """DuckDB takes the signal in, and raises what it likes."""
    threading.Timer(0.3, interrupt).start()
    duckdb.connect(config={"threads": 1}).execute(
        "select max(hash(a.i * b.i)) from range(300_000) a(i), range(300_000) b(i)"
    )


@pytest.mark.parametrize("work", [interrupt, dropped, turned_into_another, ended_in_its_own_way, in_a_query])
def test_an_interrupt_stops(work: Callable[[], None]) -> None:
    with pytest.raises(KeyboardInterrupt), remembered(), interruptible():
        work()


def test_what_is_dealt_with_stops_nothing() -> None:
    with remembered(), interruptible():
        dropped()
        forget()


def test_another_error_stays() -> None:
    with pytest.raises(ValueError, match="mine"), remembered(), interruptible():
        raise ValueError("mine")


def test_the_next_command_knows_nothing_of_the_last() -> None:
    with remembered():
        dropped()
    with remembered(), interruptible():
        pass


@pytest.fixture
def ignored() -> Iterator[None]:
    """As `nohup` and a shell's background leave it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ignored")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    with remembered(), interruptible():
        interrupt()


def test_in_another_thread_nothing_changes() -> None:
    done = []

    def work() -> None:
        with remembered(), interruptible():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler
