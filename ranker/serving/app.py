"""The HTTP of `ranker serve`: `/v1/rerank`, `/v1/feedback`, `/health`, `/metrics`; token, bounds, time
limits, and what each failure is called.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from ranker.engines import calibration
from ranker.errors import BadConfig, BadModel, PromptTooLong, RankerError, Transient
from ranker.policy.texts import readable
from ranker.proxies import LOOPBACK
from ranker.serving import feedback
from ranker.serving.batcher import Batcher, Full
from ranker.serving.explore import Exploration, Order, order
from ranker.serving.interleave import team_draft
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Models
from ranker.serving.ranking import Ranked
from ranker.serving.request_log import RequestLog, record
from ranker.serving.schema import (
    By,
    Refusal,
    Rerank,
    alone,
    answer,
    best,
    candidate_set,
    failure,
    read,
    require_probabilities,
)
from ranker.serving.settings import Bounds, How
from ranker.serving.shadow import Shadow, Shadowed
from ranker.types import CandidateSet, JsonObject

log = logging.getLogger("ranker.serving")
STATUSES: dict[type[RankerError], int] = {PromptTooLong: 413, BadConfig: 422, BadModel: 422, Transient: 503}
"""What a request is told that the strategy or the engine refuses; any other error is 500."""
GONE = 499
"""Nobody reads it but the metrics: as nginx calls a request whose client has left."""
SOON = "5"
"""Seconds until a client may ask again while no model serves."""
RERANK = ("/v1/rerank", "/rerank", "/v2/rerank")
"""One endpoint: the paths of Jina and vLLM, of vLLM's older clients, and of Cohere's client."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the app answers with."""

    models: Models
    batcher: Batcher[CandidateSet, Ranked]
    how: How
    metrics: ServingMetrics
    bounds: Bounds
    timeout: float
    """Seconds from a request's arrival to its answer."""
    task: str = ""
    """Of requests that name none."""
    token: str = ""
    """That clients must send; empty for none."""
    request_log: RequestLog | None = None
    origins: tuple[str, ...] = ()
    """Web pages that may ask, besides those of this machine."""
    access_log: bool = False
    """One line a request, to the server's log."""
    shadow: Shadow | None = None
    feedback_log: RequestLog | None = None
    answered: feedback.Answered = field(default_factory=feedback.Answered)
    """Requests that the request log has."""
    explore: Exploration = field(default_factory=Exploration)
    interleave: bool = False
    """Whether an answer waits for the shadow."""


def create(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The application."""
    app = FastAPI(title="r1-ranker", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    if parts.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(parts.origins),
            allow_methods=["POST"],
            allow_headers=["authorization", "content-type"],
        )
    endpoint = _measured(parts, _Endpoint(parts).rerank)
    for path in RERANK:
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            openapi_extra=_takes(Rerank),
            response_model=None,
            name=f"rerank {path}",
        )

    @app.post("/v1/feedback", response_model=None, openapi_extra=_takes(feedback.Feedback))
    async def take_feedback(request: Request) -> JSONResponse:
        return await _feedback(parts, request)

    @app.get("/health", response_model=None)
    async def health() -> JSONResponse:
        return _health(parts)

    @app.get("/metrics", response_model=None)
    async def metrics(request: Request) -> Response:
        _require_token(request, parts.token)
        return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json", response_model=None, include_in_schema=False)
    async def openapi(request: Request) -> JSONResponse:
        _require_token(request, parts.token)
        return JSONResponse(app.openapi())

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(refusal.body, refusal.status, refusal.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        """A fault of ours: the server's log has the traceback, the client the form of any other answer."""
        message = f"a request is answered; seen: {type(error).__name__}; remedy: see the server's log"
        return JSONResponse(failure(message), 500)

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(failure(str(error.detail)), error.status_code, error.headers)

    return app


def _takes(model: type[BaseModel]) -> dict[str, JsonObject]:
    """A request's body, for the description of the interface."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


async def _feedback(parts: Parts, request: Request) -> JSONResponse:
    """One event. It is answered when it is written: a client that hears nothing, or 503, sends it again, and
    it counts once.
    """
    _require_origin(request, parts.origins)
    _require_token(request, parts.token)
    if parts.feedback_log is None:
        raise Refusal(
            501,
            "feedback is kept beside the requests that it is about",
            seen="a server that keeps none",
            remedy="start `ranker serve` with --log",
        )
    now = datetime.now(UTC)
    given = feedback.read(await _body(request, feedback.MOST_BYTES, parts.timeout), now)
    line = feedback.record(given, now)
    written = parts.feedback_log.add(line)
    parts.metrics.fed_back(given.event, written)
    if not written:
        raise Refusal(
            503,
            "an event is written before it is acknowledged",
            seen="the disk does not take it",
            remedy="send it again later",
            headers={"Retry-After": SOON},
        )
    known = line["set_id"] in parts.answered
    return JSONResponse(
        {"id": line["event_id"], "request": "known" if known else "unknown"}, 200 if known else 202
    )


def _health(parts: Parts) -> JSONResponse:
    """Live by answering; ready, and 200, once a model serves."""
    serving = parts.models.current
    state: JsonObject = {
        "live": True,
        "ready": serving is not None,
        "model": serving.pointer.name if serving else None,
    }
    state["version"] = serving.pointer.version if serving else None
    if parts.models.trouble and not parts.token:  # it may name folders and servers
        state["trouble"] = parts.models.trouble
    if parts.shadow:
        state["shadow"] = parts.shadow.state
        if parts.shadow.trouble and not parts.token:
            state["shadow"]["trouble"] = parts.shadow.trouble
    return JSONResponse(state, 200 if serving else 503)


def _measured(
    parts: Parts, endpoint: Callable[[Request], Awaitable[JSONResponse]]
) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def measured(request: Request) -> JSONResponse:
        began, status = time.perf_counter(), 500
        try:
            response = await endpoint(request)
            status = response.status_code
            return response
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            seconds = time.perf_counter() - began
            parts.metrics.request(status, seconds)
            if parts.access_log:
                host = request.client.host if request.client else "-"
                log.info("%s %s %d %.0f ms", host, request.url.path, status, 1000 * seconds)

    return measured


class _Endpoint:
    """One rerank request from its first byte to its answer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def rerank(self, request: Request) -> JSONResponse:
        parts, at, began = self._parts, datetime.now(UTC), asyncio.get_running_loop().time()
        _require_origin(request, parts.origins)
        _require_token(request, parts.token)
        serving = self._serving()
        self._require_room()
        asked = read(await _body(request, parts.bounds.bytes, parts.timeout), parts.bounds, parts.task)
        given = candidate_set(asked, uuid4().hex)
        by = _by(serving, asked.task)
        require_probabilities(asked, by, by.calibration is not None)
        left = parts.timeout - (asyncio.get_running_loop().time() - began)
        ranked = (
            Ranked(alone(given, str(parts.how.way)), serving)
            if len(given) == 1 and serving.engine.style != "likelihood"
            else await self._ranked(request, given, left)
        )
        by = _by(ranked.by, asked.task)
        left = parts.timeout - (asyncio.get_running_loop().time() - began)
        shown, other = await self._shown(asked, given, ranked, by, left)
        answered = answer(asked, given, ranked.episode, by, shown.labels)
        answered["meta"]["explored"] = shown.drawn or shown.teams is not None
        parts.metrics.left_out(answered["meta"]["left_out"], len(given))
        if len(given) > 1:
            taken = 1000 * (asyncio.get_running_loop().time() - began)
            logged = self._logged(given, ranked, shown, at, taken, asked.user)
            if parts.shadow and not parts.interleave:
                parts.shadow.offer(given, ranked, logged)
            elif parts.shadow and other and logged:
                parts.shadow.write(given, other)
        return JSONResponse(answered)

    async def _shown(
        self, asked: Rerank, given: CandidateSet, ranked: Ranked, by: By, left: float
    ) -> tuple[Order, Shadowed | None]:
        """In which order the client gets the documents, and the ranking that was interleaved for it."""
        parts, asks = self._parts, best(asked, ranked.episode, by)
        if parts.interleave and parts.shadow and len(asks) > 1:
            other = await parts.shadow.at_once(given, ranked, left)
            if other:
                kept = best(asked.model_copy(update={"top_n": None}), ranked.episode, by)
                theirs = [label for label in other.ranked.episode.ranking if label in set(kept)]
                return team_draft(kept, theirs, given.set_id, len(asks)), other
        return order(asks, given.set_id, parts.explore), None

    def _logged(
        self,
        given: CandidateSet,
        ranked: Ranked,
        shown: Order,
        at: datetime,
        milliseconds: float,
        user: str | int | None,
    ) -> bool:
        """Whether the request log has taken it."""
        if self._parts.request_log is None:
            return False
        pointer = ranked.by.pointer
        line = record(
            given,
            ranked.episode,
            shown,
            at=at,
            milliseconds=milliseconds,
            model=pointer.identity,
            version=pointer.version,
            user=None if user is None else readable(str(user)),
        )
        written = self._parts.request_log.add(line)
        self._parts.metrics.logged(written)
        if written:
            self._parts.answered.add(given.set_id)
        return written

    def _serving(self) -> Loaded:
        serving = self._parts.models.current
        if serving is None:
            raise Refusal(
                503,
                "a model must be loaded before it can rank",
                seen=self._parts.models.trouble or "it is being loaded",
                remedy="ask again; /health says when it serves",
                headers={"Retry-After": SOON},
            )
        return serving

    def _require_room(self) -> None:
        """Before the body is read: who has to be sent away is sent away cheaply."""
        try:
            self._parts.batcher.require_room()
        except Full as full:
            raise self._full(full) from full

    async def _ranked(self, request: Request, given: CandidateSet, left: float) -> Ranked:
        try:
            return await _while_there(request, self._parts.batcher.do(given, left))
        except Full as full:
            raise self._full(full) from full
        except TimeoutError as error:
            raise Refusal(
                504,
                f"a request is answered within {self._parts.timeout:g} s",
                seen="no ranking by then",
                remedy=(
                    "send fewer documents, choose a strategy of fewer calls (--strategy), or raise --timeout"
                ),
            ) from error
        except Refusal:
            raise
        except RankerError as error:
            status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)
            headers = {"Retry-After": SOON} if status == 503 else {}
            raise Refusal(
                status, error.rule, seen=error.seen, remedy=error.remedy, headers=headers
            ) from error

    def _full(self, full: Full) -> Refusal:
        return Refusal(
            429,
            "what waits is within --max-queue requests and --max-queue-tokens tokens",
            seen=f"{full.waiting} requests wait",
            remedy=f"ask again in {full.pause} s",
            headers={"Retry-After": str(full.pause)},
        )


def _by(serving: Loaded, task: str) -> By:
    pointer = serving.pointer
    return By(pointer.name, pointer.version, calibration(serving.engine, task))


async def _while_there(request: Request, ranking: Coroutine[object, object, Ranked]) -> Ranked:
    """The ranking, unless the client leaves: then it is given up, so that clients who try again do not
    fill the queue with what nobody reads.
    """
    work, leaving = asyncio.create_task(ranking), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise _gone()
        return work.result()
    finally:
        work.cancel()
        leaving.cancel()


def _gone() -> Refusal:
    return Refusal(
        GONE, "a client waits for its answer", seen="it has left", remedy="give it more time than --timeout"
    )


async def _left(request: Request) -> None:
    """Returns when the client has closed the connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _require_origin(request: Request, allowed: Sequence[str]) -> None:
    """A browser names the page that asks: any page that somebody visits can reach a server of this machine,
    also by a name of its own that it lets point here.
    """
    origin = request.headers.get("origin", "")
    if origin and origin not in allowed and urlsplit(origin).hostname not in LOOPBACK:
        raise Refusal(
            403,
            "a web page that asks is allowed to",
            seen=origin[:200],
            remedy="start the server with --allow-origin and the page's address",
        )


def _require_token(request: Request, token: str) -> None:
    given = request.headers.get("authorization", "")
    kind, _, sent = given.partition(" ")
    if token and not (
        kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())
    ):
        raise Refusal(
            401,
            "a request carries the server's token",
            seen="another one" if given else "none",
            remedy="send the header `Authorization: Bearer …`",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def _body(request: Request, most: int, timeout: float) -> bytes:
    """The body, never more than `most` bytes of it."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most, declared)
    parts = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for part in request.stream():
                parts += part
                if len(parts) > most:
                    raise _too_large(most, "more")
    except TimeoutError as error:
        raise Refusal(
            408,
            f"a body comes within {timeout:g} s",
            seen=f"{len(parts)} bytes by then",
            remedy="send it faster, or less",
        ) from error
    except ClientDisconnect as error:
        raise _gone() from error
    return bytes(parts)


def _too_large(most: int, seen: str) -> Refusal:
    return Refusal(
        413, f"a body has at most {most} bytes", seen=seen, remedy="send fewer documents or shorter ones"
    )
