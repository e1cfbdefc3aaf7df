"""A Prefect server as operators run it, with its background services, and somebody to whom it posts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prefect.client.orchestration import SyncPrefectClient

from tests.ranker.lake.servers import Silent, free_port, http, until

START_SECONDS = 180


class PrefectServer:
    """A server as a process; its database is in `folder`, so that it is the same one after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        }
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self.port)],
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: _answers(f"{self.url}/health"), START_SECONDS)

    def kill(self) -> None:
        """As a power cut does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def processes(self) -> list[psutil.Process]:
        """It, and what it has started."""
        assert self._process is not None
        own = psutil.Process(self._process.pid)
        return [*own.children(recursive=True), own]

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def prefect_server(folder: Path) -> Iterator[PrefectServer]:
    """One that runs; its database is in `folder`."""
    server = PrefectServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def clear(client: SyncPrefectClient) -> None:
    """Delete what tests leave on a server. With a flow go its runs and deployments."""
    for kind in ("flows", "work_pools", "automations", "v2/concurrency_limits", "block_documents"):
        for found in client.request("POST", f"/{kind}/filter", json={}).json():
            name = found["name"] if kind == "work_pools" else found["id"]
            client.request("DELETE", f"/{kind}/{name}")


@contextmanager
def losing(url: str, path: str) -> Iterator[str]:
    """The API at `url`, by another address, where the answer to the first POST of a path that ends so is
    lost: it is done, and the client hears that the server is away.
    """
    left = [path]

    class Between(Silent):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {"content-type": self.headers.get("content-type") or "application/json"}
            address = url.removesuffix("/api") + self.path
            asked = urllib.request.Request(address, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    status, found = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, found = error.code, error.read()
            if left and self.command == "POST" and self.path.endswith(left[0]):
                left.clear()
                status, found = 503, b"{}"
            self.reply(status, found)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on

    with http(Between) as address:
        yield f"{address}/api"
    assert not left, f"nobody asked for {path}"


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An HTTP address, and what has been posted to it."""
    posted: list[dict[str, str]] = []

    class Taking(Silent):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.reply(200)

    with http(Taking) as address:
        yield f"{address}/hook", posted
