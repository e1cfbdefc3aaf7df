"""Servers for tests, on 127.0.0.1: the whole command in a process of its own, or its application in a
thread of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from ranker.config import RegisterParams, parse_params
from ranker.engines import Sampling
from ranker.refs import PROJECT
from ranker.serving.server import Server
from ranker.serving.settings import How, Settings
from ranker.stages import registry
from ranker.strategies import strategy
from tests.ranker.lake.servers import free_port, until

RANKER = (sys.executable, "-c", "from ranker.cli.main import app; app()")
PATIENCE = 120
"""Seconds for a process to import what it needs and load a model, on a busy machine."""
CLIENT = httpx.Client(timeout=PATIENCE, verify=False)
"""One for all: making a client takes longer than a tiny model's answer."""


NAME = RegisterParams().name


def promote(home: Path, key: str, *aliases: str) -> str:
    """A new version in the registry, with these aliases or made champion; gives its number."""
    client = registry.client_of(home, RegisterParams())
    if not client.search_registered_models(f"name = '{NAME}'"):
        client.create_registered_model(NAME)
    version = client.create_model_version(
        NAME, source=str(home / "models" / key / "rl"), tags={"train_key": key, "model": f"models/{key}/rl"}
    ).version
    for alias in aliases or ("champion",):
        client.set_registered_model_alias(NAME, alias, version)
    return str(version)


@dataclass
class Running:
    """A server that listens."""

    url: str
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def post(self, payload: Any, *, path: str = "/v1/rerank", **headers: str) -> httpx.Response:
        return CLIENT.post(self.url + path, json=payload, headers=headers)

    def health(self) -> httpx.Response:
        return CLIENT.get(f"{self.url}/health")

    def metrics(self) -> dict[str, float]:
        """Value by name and labels as they stand in the text."""
        lines = CLIENT.get(f"{self.url}/metrics").text.splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
        }


@contextmanager
def in_thread(home: Path, settings: Settings) -> Iterator[Running]:
    """The application of `settings`, once its model serves. Its request log is let go at the end."""
    made = Server(settings, parse_params({"home": str(home)}))
    config = made.config()
    config.port = free_port()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    running = Running(f"http://127.0.0.1:{server.config.port}")
    try:
        until(lambda: server.started)
        until(lambda: running.health().status_code == 200)
        yield running
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        made.let_go()


@contextmanager
def in_process(
    home: Path,
    log: Path,
    *options: str,
    program: Sequence[str] = RANKER,
    cwd: Path = PROJECT,
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """`ranker serve` with these options; it listens, and may have no model yet.

    `program` is the command line of another installation, run in `cwd` with `env`.
    """
    port = free_port()
    command = [*program, "serve", "--home", str(home), "--port", str(port), *options]
    given = env or os.environ | {"PYTHONPATH": str(PROJECT)}
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, env=given) as process,
    ):
        running = Running(f"http://127.0.0.1:{port}", log, process)
        try:
            until(lambda: _listens(running))
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def _listens(running: Running) -> bool:
    assert running.process is not None and running.log is not None
    assert running.process.poll() is None, running.log.read_text()
    try:
        return bool(running.health().status_code)
    except httpx.TransportError:
        return False


def question(n: int = 5, seed: int = 0) -> dict[str, Any]:
    """A request about `n` sets of attributes."""
    return {
        "query": f"a{seed % 12} a{(seed + 3) % 12} a{(seed + 7) % 12}",
        "documents": [f"a{(i + seed) % 12} a{(5 * i + seed) % 12}" for i in range(n)],
    }


def is_permutation(answered: dict[str, Any], n: int) -> bool:
    """All documents once, with scores that never rise."""
    scores: Sequence[float] = [result["relevance_score"] for result in answered["results"]]
    return sorted(result["index"] for result in answered["results"]) == list(range(n)) and list(
        scores
    ) == sorted(scores, reverse=True)


HOW = How(strategy("iterative"), sampling=Sampling(64))
CALIBRATION = (1.3, 8.0)
"""Slope and offset that put the scores of an untrained model's texts between 0.05 and 0.95."""
