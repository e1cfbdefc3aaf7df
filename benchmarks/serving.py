"""`ranker serve` under load: requests a second and the time of the slowest in twenty, by number of clients.

`HOME` is a data folder with a champion (`make run`). Every request is another one (8 documents of 30 words
drawn from Python's manual), so that no score is known from an earlier request; or with documents of a
small corpus, of which the server keeps what the model makes of them.

Then under strain: small requests beside large ones; clients beside connections that never ask, while the
champion changes twice; and clients that pause, without and with a shadow of the same weights.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from pydoc_data.topics import topics
from urllib.parse import urlsplit

import httpx
import numpy as np
from mlflow import MlflowClient

from ranker.config import RegisterParams
from ranker.errors import RankerError
from ranker.refs import PROJECT
from ranker.serving.settings import DEFAULTS
from ranker.stages import registry

TASK = "passage-pydoc"
CLIENTS = (1, 20)
DOCUMENTS, WORDS = 8, 30
CORPUS, KEPT_MIB = 200, 1_024
SECONDS = 30.0
LARGE, LARGE_DOCUMENTS = 16, 100
HALF_OPEN, SWAPS = 300, 2
PAUSING, PAUSE = 2, 1.0
"""Clients, and seconds between an answer and the next request on average: a shadow has time."""
WARM = 3
"""Requests before that measurement: no more than a shadow soon has behind it."""
PATIENCE = 180.0
"""Seconds for the server to read its libraries and its model."""


def requests(seed: int, corpus: int) -> list[dict[str, object]]:
    """Of one client, more than it can send.

    Args:
        corpus: documents that there are; 0 for other ones in every request.
    """
    words = " ".join(topics.values()).split()
    draw = random.Random(seed)

    def text(size: int, start: int) -> str:
        return " ".join(words[start : start + size])

    def anywhere(size: int) -> int:
        return draw.randrange(len(words) - size)

    def documents() -> list[int]:
        if corpus:
            return [WORDS * place for place in draw.sample(range(corpus), DOCUMENTS)]
        return [anywhere(WORDS) for _ in range(DOCUMENTS)]

    return [
        {"query": text(8, anywhere(8)), "documents": [text(WORDS, at) for at in documents()], "task": TASK}
        for _ in range(1_000)
    ]


def load(url: str, clients: int, corpus: int, pause: float = 0.0) -> dict[str, float]:
    """Every client sends its next request when the former is answered.

    Args:
        pause: seconds between them, on average (exponential); the same draws in every measurement.
    """
    taken: list[float] = []
    failed: list[str] = []
    end = time.monotonic() + SECONDS

    def send(seed: int) -> None:
        draw = random.Random(seed)
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            for request in requests(seed, corpus):
                if time.monotonic() > end:
                    return
                began = time.perf_counter()
                try:
                    client.post(f"{url}/v1/rerank", json=request).raise_for_status()
                except httpx.HTTPError as error:
                    failed.append(str(error))
                taken.append(time.perf_counter() - began)
                if pause:
                    time.sleep(draw.expovariate(1 / pause))

    began = time.monotonic()
    threads = [threading.Thread(target=send, args=(1_000 * clients + each,)) for each in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "requests": len(taken),
        "failed": len(failed),
        "per_second": len(taken) / (time.monotonic() - began),
        "median": float(np.median(taken)),
        "p95": float(np.quantile(taken, 0.95)),
    }


def beside_large(url: str) -> dict[str, float]:
    """One client of small requests, while so many of a hundred documents wait."""

    def large(seed: int) -> None:
        (request, *_) = requests(seed, 0)
        documents = [text for other in requests(seed + 1, 0)[:20] for text in other["documents"]]
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            while not done.is_set():
                client.post(f"{url}/v1/rerank", json=request | {"documents": documents[:LARGE_DOCUMENTS]})

    done = threading.Event()
    threads = [threading.Thread(target=large, args=(90_000 + 10 * each,)) for each in range(LARGE)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    found = load(url, 1, 0)
    done.set()
    for thread in threads:
        thread.join()
    return found


def under_attack(home: Path) -> dict[str, float]:
    """Clients, connections that never ask, and a champion that changes, in a data folder of its own."""
    with (
        _own(home) as own,
        served(own, "--poll", "1", "--head-timeout", "5") as url,
        ExitStack() as stack,
    ):
        swapping = threading.Thread(target=_swap, args=(own,))
        swapping.start()
        parts = urlsplit(url)
        for _ in range(HALF_OPEN):
            one = stack.enter_context(socket.create_connection((parts.hostname, parts.port or 80)))
            one.sendall(b"POST /v1/rerank HTTP/1.1\r\n")
        found = load(url, max(CLIENTS), 0)
        swapping.join()
        return found | {"swaps": _counted(url, "ranker_swaps_total")}


def beside_shadow(home: Path) -> dict[str, dict[str, float]]:
    """Clients that pause, without and with a shadow: the champion's policy under another number, so that it
    has as much to do. The latter has the ratios of its times to those without.
    """
    found = list[dict[str, float]]()
    with _own(home) as own:
        _again(own, "challenger")
        for options in ((), ("--shadow", "challenger")):
            with served(own, *options) as url:
                _await_shadow(url)
                for request in requests(0, 0)[:WARM]:
                    httpx.post(f"{url}/v1/rerank", json=request, timeout=PATIENCE, trust_env=False)
                found.append(load(url, PAUSING, 0, PAUSE))
                found[-1]["shadowed"] = _counted(url, 'ranker_shadow_requests_total{outcome="ranked"}')
    without, beside = found
    ratios = {f"{name}_ratio": beside[name] / without[name] for name in ("median", "p95")}
    name = f"{PAUSING} clients that pause for {PAUSE:g} s"
    return {f"{name}, no shadow": without, f"{name}, beside a shadow": beside | ratios}


@contextmanager
def _own(home: Path) -> Iterator[Path]:
    """A data folder with the models of `home` and a registry of its own."""
    with tempfile.TemporaryDirectory(prefix="ranker-bench-") as name:
        own = Path(name)
        (own / "models").symlink_to(home / "models")
        shutil.copy(home / "mlflow.db", own)
        yield own


def _counted(url: str, metric: str) -> float:
    lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(metric))


def _await_shadow(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while not httpx.get(f"{url}/health", trust_env=False).json().get("shadow", {"ranks": True})["ranks"]:
        if time.monotonic() > end:
            raise RuntimeError(f"no shadow is loaded at {url}")
        time.sleep(0.5)


def _swap(home: Path) -> None:
    """The champion's policy under another number, again and again."""
    for _ in range(SWAPS):
        time.sleep(SECONDS / (SWAPS + 1))
        _again(home, "champion")


def _again(home: Path, alias: str) -> None:
    """The champion's policy under another number, which gets the alias."""
    params = RegisterParams()
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}", f"sqlite:///{home / 'mlflow.db'}")
    version = client.get_model_version_by_alias(params.name, "champion")
    made = client.create_model_version(params.name, str(version.source), tags=version.tags)
    client.set_registered_model_alias(params.name, alias, str(made.version))


@contextmanager
def served(home: Path, *options: str) -> Iterator[str]:
    """The champion of `home`, at an address of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from ranker.cli.main import app; app()", "serve", "--home", str(home)]
    command += ["--set", "evaluate.cache=0"]  # an earlier measurement's scores are in the file
    process = subprocess.Popen(
        [*command, "--port", str(port), *options], cwd=PROJECT, env=os.environ | {"RANKER_TOKEN": ""}
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
    """By number of clients and what the server keeps.

    Raises:
        StageMissing: no model is registered as champion.
    """
    registry.present_champion(home, RegisterParams(), "serving under load")
    found: dict[str, dict[str, float]] = {}
    for corpus, kept in ((0, 0), (CORPUS, KEPT_MIB)):
        with served(home, "--keep-documents", str(kept)) as url:
            load(url, 1, corpus)  # warm
            for clients in CLIENTS:
                name = f"{clients} client{'s' if clients > 1 else ''}"
                name += f", of a corpus of {corpus}, --keep-documents {kept}" if corpus else ""
                found[name] = load(url, clients, corpus)
    for tokens in (10**9, DEFAULTS.most_tokens):
        with served(home, "--max-batch-tokens", str(tokens)) as url:
            load(url, 1, 0)
            bound = f"--max-batch-tokens {tokens}" if tokens < 10**9 else "one batch for all"
            found[f"1 client beside {LARGE} of {LARGE_DOCUMENTS} documents, {bound}"] = beside_large(url)
    found[f"{max(CLIENTS)} clients, {HALF_OPEN} half-open, {SWAPS} swaps"] = under_attack(home)
    return found | beside_shadow(home)


if __name__ == "__main__":
    try:
        print(json.dumps(measure(Path(sys.argv[1]).resolve())))
    except RankerError as error:
        sys.exit(str(error))
