"""The connections of a server: how many there may be, and how long one may take to ask.

uvicorn waits for ever for a request that does not come, and counts such connections as work: a few hundred
that send a byte now and then lock everybody out, until no file can be opened any more. So a head has a
deadline of its own, from its first moment and whatever has come of it, and where there are as many
connections as may be, the one that has been asking for longest makes room for the next.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 4_096
FEWEST = 8
MOST_AT_ONCE = 128
OWN = 64
"""Files and sockets that the server needs besides: registry, model, request log, libraries."""


def room() -> tuple[int, int]:
    """Connections that may be open, and those that may be accepted in one go, by the files that this process
    may have open.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST if files == resource.RLIM_INFINITY else files
    at_once = max(1, min(MOST_AT_ONCE, files // 4))
    return max(FEWEST, min(MOST, files - at_once - OWN)), at_once


class Connections:
    """What the connections of one server share.

    Args:
        most: connections at once. One more takes the place of the one whose request has been coming for
            longest, or of one that asks nothing; where all of them wait for answers it is closed.
        seconds: from a connection's opening, or the first byte of its next request, to the end of the
            request's head.
        closed: called with "slow" or "full" for every connection that is closed.
    """

    def __init__(self, most: int, seconds: float, closed: Callable[[str], None]) -> None:
        self.most, self.seconds, self._closed = most, seconds, closed
        self._open: set[Guarded] = set()
        self._asking: dict[Guarded, asyncio.TimerHandle | None] = {}
        """Whose request has not come whole, oldest first; with the deadline of those whose head has not."""

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> type[Guarded]:
        """The protocol class of these connections, for uvicorn's `http`."""
        return type("GuardedHere", (Guarded,), {"shared": self})

    def opened(self, one: Guarded) -> None:
        """A connection was made."""
        self._open.add(one)
        self.asks(one)
        if len(self._open) > self.most:
            idle = (other for other in self._open if other.idle)
            others = (other for other in self._asking if other is not one)
            self._close(next(others, None) or next(idle, None) or one, "full")

    def asks(self, one: Guarded) -> None:
        """A request begins to come."""
        loop = asyncio.get_running_loop()
        self._asking[one] = loop.call_later(self.seconds, self._close, one, "slow")

    def head_came(self, one: Guarded) -> None:
        """What comes after the head has the request's own deadline."""
        timer = self._asking.get(one)
        if timer is not None:
            timer.cancel()
            self._asking[one] = None

    def came(self, one: Guarded) -> None:
        """The request has come whole: the connection is not closed any more until it is answered."""
        self.head_came(one)
        self._asking.pop(one, None)

    def lost(self, one: Guarded) -> None:
        """A connection has gone."""
        self.came(one)
        self._open.discard(one)

    def _close(self, one: Guarded, why: str) -> None:
        self.lost(one)
        self._closed(why)
        one.transport.abort()

    def asking(self, one: Guarded) -> bool:
        """Whether a request of it is coming."""
        return one in self._asking


class Guarded(H11Protocol):
    """uvicorn's protocol, which tells `shared` what happens."""

    shared: Connections

    @property
    def idle(self) -> bool:
        """Nobody waits for an answer."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.shared.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.idle and not self.shared.asking(self):
            self.shared.asks(self)
        super().data_received(data)
        if not self.idle:
            self.shared.head_came(self)
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
                self.shared.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.lost(self)
        super().connection_lost(exc)
