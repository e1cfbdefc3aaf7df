"""Connections that ask nothing, or never finish asking, over real sockets: a valid client is answered all
the same.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ranker.serving import server as server_module
from ranker.serving.connections import FEWEST, MOST, MOST_AT_ONCE, Connections, room
from ranker.serving.settings import Settings
from tests.ranker.engines.models import tiny
from tests.ranker.lake.servers import until
from tests.ranker.serving.running import (
    RANKER,
    Running,
    in_process,
    in_thread,
    is_permutation,
    question,
)

HEAD = b"POST /v1/rerank HTTP/1.1\r\nHost: here\r\n"
SECONDS = 0.5


@pytest.fixture
def narrow(model_home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server of six connections, whose heads have half a second."""
    monkeypatch.setattr(server_module, "room", lambda: (6, 4))
    with in_thread(model_home, replace(settings, head_timeout=SECONDS)) as running:
        yield running


@contextmanager
def connected(running: Running, first: bytes = b"") -> Iterator[socket.socket]:
    parts = urlsplit(running.url)
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=30) as open_one:
        open_one.sendall(first)
        yield open_one


def fresh(running: Running) -> httpx.Response:
    """By a client that has no connection yet."""
    return httpx.post(f"{running.url}/v1/rerank", json=question(4), timeout=60)


def closed(running: Running, reason: str) -> float:
    return running.metrics().get(f'ranker_closed_connections_total{{reason="{reason}"}}', 0)


def ends(one: socket.socket) -> bool:
    """Whether the server has closed it: waits for that."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("first", [b"", b"P", HEAD], ids=["nothing", "a byte", "half a head"])
def test_a_head_that_does_not_come_is_not_waited_for(narrow: Running, first: bytes) -> None:
    with connected(narrow, first) as one:
        assert ends(one)
    assert closed(narrow, "slow") == 1


def test_a_byte_now_and_then_gains_no_time(narrow: Running) -> None:
    began = time.monotonic()
    with connected(narrow, HEAD) as one, pytest.raises(OSError):
        while time.monotonic() < began + 60:
            one.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - began < 30
    assert closed(narrow, "slow") == 1


def test_the_next_request_of_a_connection_has_a_deadline_too(narrow: Running) -> None:
    with connected(narrow, b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n") as one:
        answered = b""
        while not answered.endswith(b"}"):
            answered += one.recv(4_096)
        one.sendall(HEAD)
        assert ends(one)
    assert closed(narrow, "slow") == 1


def test_who_has_been_asking_for_longest_makes_room(narrow: Running) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connected(narrow, HEAD))
            assert narrow.metrics()["ranker_connections"] <= 6
        answered = fresh(narrow)
        assert answered.status_code == 200 and is_permutation(answered.json(), 4)
    assert closed(narrow, "full") > 0


def test_so_does_a_body_that_does_not_come(narrow: Running) -> None:
    """Its head is there: it has the time of a request, but no place that another could have."""
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connected(narrow, HEAD + b"Content-Length: 400\r\n\r\n{"))
        assert fresh(narrow).status_code == 200
        time.sleep(2 * SECONDS)
        assert closed(narrow, "slow") == 0
        assert fresh(narrow).status_code == 200
    assert closed(narrow, "full") > 0


def test_a_request_that_takes_longer_than_a_head_is_answered(narrow: Running) -> None:
    """Its parts come slower than a head may: that is the request's own time limit."""
    body = b'{"query": "a1", "documents": ["a1 a2", "a3"]}'
    with connected(narrow, HEAD + b"Content-Length: %d\r\n\r\n" % len(body)) as one:
        for byte in (body[:10], body[10:20], body[20:]):
            time.sleep(SECONDS)
            one.sendall(byte)
        assert one.recv(65_536).startswith(b"HTTP/1.1 200")


class Waiting:
    """A connection whose request has come, as far as `Connections` looks at it."""

    idle = False

    def __init__(self, number: int, gone: list[int]) -> None:
        self.transport = SimpleNamespace(abort=lambda: gone.append(number))


def test_who_waits_for_an_answer_is_never_closed() -> None:
    """Where all of them do, the newcomer goes."""
    gone: list[int] = []

    async def fill() -> None:
        shared = Connections(3, 60.0, lambda _: None)
        for number in range(5):
            one: Any = Waiting(number, gone)
            shared.opened(one)
            if number < 3:
                shared.came(one)

    asyncio.run(fill())
    assert gone == [3, 4]


def test_room_is_what_the_files_of_a_process_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((200, 86), (1_024, 832), (64, FEWEST), (10**6, MOST), (resource.RLIM_INFINITY, None)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        found, at_once = room()
        assert found == most or most is None
        assert 1 <= at_once <= MOST_AT_ONCE and FEWEST <= found <= MOST


def test_a_flood_neither_locks_out_nor_fills_the_log(tmp_path: Path) -> None:
    """260 connections that never ask, at 200 files: a valid client got no answer once, and the log 71 MB in
    seconds.
    """
    home = tmp_path / "home"
    folder = home / "models" / "k" / "rl"
    tiny(folder, context=256)
    program = ("sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *RANKER)
    options = ("--task", "synthetic", "--model", str(folder), "--max-tokens", "32", "--head-timeout", "60")
    with in_process(home, tmp_path / "log", *options, program=program) as running, ExitStack() as stack:
        until(lambda: running.health().status_code == 200)
        for _ in range(260):
            stack.enter_context(connected(running, HEAD))
        answered = [fresh(running) for _ in range(3)]
        assert [one.status_code for one in answered] == [200, 200, 200]
        assert closed(running, "full") >= 260 - 200
    assert len((tmp_path / "log").read_bytes()) < 20_000
