"""`ranker serve` under load: requests a second and the time of the slowest in twenty, by number of clients.

`HOME` is a data folder with a champion (`make run`). Every request is another one (8 documents of 30 words
drawn from Python's manual), so that no score is known from an earlier request.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics

import httpx
import numpy as np

from ranker.refs import PROJECT

TASK = "passage-pydoc"
CLIENTS = (1, 20)
DOCUMENTS, WORDS = 8, 30
SECONDS = 30.0
PATIENCE = 180.0
"""Seconds for the server to read its libraries and its model."""


def requests(seed: int) -> list[dict[str, object]]:
    """Of one client, more than it can send."""
    words = " ".join(topics.values()).split()
    draw = random.Random(seed)

    def text(size: int) -> str:
        start = draw.randrange(len(words) - size)
        return " ".join(words[start : start + size])

    return [
        {"query": text(8), "documents": [text(WORDS) for _ in range(DOCUMENTS)], "task": TASK}
        for _ in range(1_000)
    ]


def load(url: str, clients: int) -> dict[str, float]:
    """Every client sends its next request when the former is answered."""
    taken: list[float] = []
    end = time.monotonic() + SECONDS

    def send(seed: int) -> None:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            for request in requests(seed):
                if time.monotonic() > end:
                    return
                began = time.perf_counter()
                client.post(f"{url}/v1/rerank", json=request).raise_for_status()
                taken.append(time.perf_counter() - began)

    began = time.monotonic()
    threads = [threading.Thread(target=send, args=(1_000 * clients + each,)) for each in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "requests": len(taken),
        "per_second": len(taken) / (time.monotonic() - began),
        "median": float(np.median(taken)),
        "p95": float(np.quantile(taken, 0.95)),
    }


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The champion of `home`, at an address of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from ranker.cli.main import app; app()", "serve", "--home", str(home)]
    process = subprocess.Popen(
        [*command, "--port", str(port)], cwd=PROJECT, env=os.environ | {"RANKER_TOKEN": ""}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"no model is served at {url}; `make run` registers one")


def measure(home: Path) -> dict[str, dict[str, float]]:
    """By number of clients."""
    with served(home) as url:
        load(url, 1)  # warm
        return {str(clients): load(url, clients) for clients in CLIENTS}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]).resolve())))
