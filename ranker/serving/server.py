"""Puts a server together, runs it until it is told to stop, and stops it in order: what was taken is
answered, then it ends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI

from ranker.config import RetrainParams, task
from ranker.engines import Engine
from ranker.errors import BadConfig
from ranker.serving import app
from ranker.serving.batcher import Batcher
from ranker.serving.collect import feedback_folder, folder
from ranker.serving.connections import Connections, room
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Models, finder, loader
from ranker.serving.privacy import masker
from ranker.serving.ranking import Ranked, Ranking, tokens
from ranker.serving.request_log import RequestLog
from ranker.serving.schema import MOST_LABELS
from ranker.serving.settings import Settings
from ranker.serving.shadow import Shadow, address, shadow_finder
from ranker.types import CandidateSet

log = logging.getLogger("ranker.serving")
LAST_COLLECTION = 120
"""Seconds that the end waits for the request log to come into the lake; what does not stays in the request
log.
"""
SPARE = 5
"""Seconds beyond the time limit of a request that the end waits for answers under way."""
_COLLECT = "from ranker.cli.main import app; app()"


def serve(settings: Settings, params: RetrainParams) -> None:
    """Serve until SIGTERM or SIGINT; then answer what was taken, and return.

    Raises:
        BadConfig: a host that others can reach and no token; a port that is taken; a task that does not
        exist; no such address of a model.
        BadModel: the model's folder is none.
    """
    _require_safe(settings)
    server = Server(settings, params)
    with _listening(settings.host, settings.port) as listener:
        _tell()
        log.info("listening on http://%s:%d", settings.host, listener.getsockname()[1])
        _until_told(uvicorn.Server(server.config()), listener)
    server.let_go()
    server.collect(LAST_COLLECTION)
    log.info("stopped")


def _tell() -> None:
    """The process is the server's from here on: its log goes to standard error."""
    logging.basicConfig(format="%(asctime)s %(name)s - %(message)s")
    logging.getLogger("ranker").setLevel(logging.INFO)


def _until_told(running: uvicorn.Server, listener: socket.socket) -> None:
    """uvicorn takes the signals itself, and raises them again when all is done: they end here, so that the
    exit code is 0.
    """

    def stop(*_: object) -> None:
        running.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        running.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Server:
    """The parts of a server, and the application that they make."""

    def __init__(self, settings: Settings, params: RetrainParams) -> None:
        self._settings, self._params = settings, params
        self.metrics = ServingMetrics()
        load = loader(params, settings.documents)
        self.models = Models(
            finder(settings.model, params),
            load,
            swapped=self.metrics.swapped,
            failed=self.metrics.swap_failed,
        )
        ranking = Ranking(self.models, settings.how, self.metrics)
        self.batcher: Batcher[CandidateSet, Ranked] = Batcher(
            ranking,
            most_waiting=settings.most_waiting,
            most_at_once=settings.most_at_once,
            size=tokens,
            most_size=settings.most_tokens,
            most_size_waiting=settings.most_tokens_waiting,
            fair=settings.timeout / 4,
        )
        most, self._at_once = room()
        connections = Connections(most, settings.head_timeout, self.metrics.closed)
        self._protocol = connections.protocol()
        self.metrics.watch(lambda: self.batcher.depth, lambda: len(connections))
        self.request_log = (
            RequestLog(folder(params.home_path), mask=masker(settings.texts, params.home_path))
            if settings.log
            else None
        )
        self.feedback_log = (
            RequestLog(feedback_folder(params.home_path), "events of feedback") if settings.log else None
        )
        self.shadow = self._shadow(load) if settings.shadow else None
        parts = app.Parts(
            self.models,
            self.batcher,
            settings.how,
            self.metrics,
            settings.bounds,
            settings.timeout,
            settings.task,
            settings.token,
            self.request_log,
            settings.origins,
            settings.access_log,
            self.shadow,
            self.feedback_log,
            explore=settings.explore,
            interleave=settings.interleave,
        )
        self.app = app.create(parts, self._lifespan)

    def _shadow(self, load: Callable[[str], Engine]) -> Shadow:
        settings = self._settings
        models = Models(
            shadow_finder(address(settings.shadow, settings.model, self._params), self._params),
            load,
            swapped=lambda _: None,
            failed=self.metrics.shadow_load_failed,
            besides=lambda: self.models.current.pointer if self.models.current else None,
            does="shadows",
        )
        how = settings.shadow_how or settings.how
        return Shadow(
            models,
            how,
            self.batcher.idle,
            self.metrics,
            most=settings.most_shadowed,
            request_log=self.request_log,
        )

    def config(self) -> uvicorn.Config:
        """How uvicorn runs it."""
        return uvicorn.Config(
            self.app,
            http=self._protocol,
            log_level="warning",
            access_log=False,
            backlog=self._at_once,
            timeout_graceful_shutdown=int(self._settings.timeout) + SPARE,
        )

    def _lifespan(self, _: FastAPI) -> AbstractAsyncContextManager[None]:
        return self._running()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """From the first request to the last: uvicorn leaves only when every request is answered."""
        tasks = [
            asyncio.create_task(self.batcher.run()),
            asyncio.create_task(self.models.follow(self._settings.poll)),
        ]
        if self.request_log:
            tasks.append(asyncio.create_task(self._collecting()))
        if self.shadow:
            tasks.append(asyncio.create_task(self.shadow.follow(self.models, self._settings.poll)))
            tasks.append(asyncio.create_task(self.shadow.run()))
        yield
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.batcher.close()
        self.models.close()
        if self.shadow:
            self.shadow.close()

    @property
    def _logs(self) -> list[RequestLog]:
        return [one for one in (self.request_log, self.feedback_log) if one]

    def let_go(self) -> None:
        """Leave the files of the logs to `ranker collect`."""
        for one in self._logs:
            one.close()

    def collect(self, limit: float | None = None) -> None:
        """Have the closed files of the logs brought into the lake, within `limit` seconds.

        What does not get there stays in the logs.
        """
        if not any(one.waiting for one in self._logs):
            return
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                _command(self._params), stdout=subprocess.DEVNULL, timeout=limit, check=False
            )
            if not done.returncode:
                self.metrics.collected("done")
                return
        self.metrics.collected("failed")
        log.warning(
            "served episodes or feedback did not come into the lake; they stay in %s until `ranker collect`",
            ", ".join(str(one.folder) for one in self._logs),
        )

    async def _collecting(self) -> None:
        while True:
            await asyncio.sleep(self._settings.log_every)
            self.let_go()  # here, where lines are added
            await asyncio.to_thread(self.collect)


def _require_safe(settings: Settings) -> None:
    if settings.task:
        task(settings.task)
    if not 1 <= settings.bounds.documents <= MOST_LABELS:
        raise BadConfig(
            f"a request may hold 1 to {MOST_LABELS} documents",
            seen=str(settings.bounds.documents),
            remedy="change --max-documents",
        )
    if settings.interleave and (not settings.log or settings.explore.share):
        raise BadConfig(
            "interleaved answers are logged, and not shuffled as well",
            seen=f"--explore {settings.explore.share:g}" if settings.log else "--interleave and no log",
            remedy="add --log, and leave --explore away",
        )
    if settings.explore.share and not settings.log:
        raise BadConfig(
            "answers are shuffled so that something is learned from them",
            seen=f"--explore {settings.explore.share:g} and no log",
            remedy="add --log, or leave --explore away",
        )
    if not settings.token and not _loopback(settings.host):
        raise BadConfig(
            "a server that others can reach asks for a token",
            seen=f"host {settings.host} and no token",
            remedy="put one into $RANKER_TOKEN (--token-env names another variable), or listen on 127.0.0.1",
        )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise BadConfig(
            "a server needs an address of its own",
            seen=f"{host}:{port}: {error}",
            remedy="end what listens there, or choose another --port (0 takes a free one)",
        ) from error


def _command(params: RetrainParams) -> list[str]:
    """`ranker collect` in a process of its own: contracts and catalog take seconds of CPU, which the
    requests need.
    """
    lake = ["--lake", params.lake] if params.lake else []
    return [sys.executable, "-c", _COLLECT, "collect", "--home", str(params.home_path), *lake]
