"""A Prefect server as operators run it, with its background services, and somebody to whom it posts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient

from tests.ranker.lake.servers import free_port, until

START_SECONDS = 180


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """Its address; the database is in `folder`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: _answers(f"{url}/health"), START_SECONDS)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


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
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An HTTP address, and what has been posted to it."""
    posted: list[dict[str, str]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
        server.shutdown()
