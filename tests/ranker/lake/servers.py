"""Real servers for tests, on 127.0.0.1: PostgreSQL from the system's packages, and S3 as moto speaks it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_SECONDS = 60
WAIT_SECONDS = 300
"""Half of what pytest lets a test take: what is waited for goes through several processes that import torch,
on machines that do other things too.
"""


def postgres_binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


class Postgres:
    """A server with a user and a database of the same name, in an empty folder; the same after a restart."""

    def __init__(self, binaries: Path, folder: Path, user: str = "lake") -> None:
        self._binaries, self._folder, self.port = binaries, folder, free_port()
        shutil.chown(folder, *_owner()) if _owner() else None
        _run(binaries / "initdb", "-D", folder / "db", "-U", user, "-A", "trust", "-E", "UTF8")
        self.start()
        _run(binaries / "createdb", "-h", "127.0.0.1", "-p", self.port, "-U", user, user)

    def start(self) -> None:
        own = f"listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        options = f"-c {own} -c fsync=off -p {self.port}"
        self._control("-l", self._folder / "log", "-o", options, "-w", "-t", START_SECONDS, "start")

    def stop(self) -> None:
        """As a crash does: no session is ended in peace."""
        self._control("-m", "immediate", "-w", "stop")

    def _control(self, *arguments: object) -> None:
        _run(self._binaries / "pg_ctl", "-D", self._folder / "db", *arguments)


@contextmanager
def postgres(binaries: Path, user: str = "lake") -> Iterator[Postgres]:
    """One in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="ranker-pg-") as name:
        server = Postgres(binaries, Path(name), user)
        try:
            yield server
        finally:
            server.stop()


def _owner() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: another user that is there, else None."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    return None


def _run(*command: object) -> None:
    owner = _owner()
    who = {"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}
    # Output to a file: the server inherits it, and a pipe would stay open for as long as it runs.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            cwd="/",
            timeout=2 * START_SECONDS,
            **who,
        )  # type: ignore[call-overload]
        output.seek(0)
        assert done.returncode == 0, output.read().decode(errors="replace")


@contextmanager
def s3(port: int = 0, recording: Path | None = None) -> Iterator[str]:
    """An S3 server with a bucket `lake`; gives host and port. It forgets everything at its end, unless what
    it was asked is written to `recording`, from which the next one with this file begins.
    """
    address = f"127.0.0.1:{port or free_port()}"
    host, _, port_ = address.partition(":")
    known = recording is not None and recording.exists()
    kept = {"MOTO_ENABLE_RECORDING": "true", "MOTO_RECORDER_FILEPATH": str(recording)} if recording else {}
    command = [
        sys.executable,
        "-c",
        "from moto.server import main; import sys; main(sys.argv[1:])",
        "-H",
        host,
        "-p",
        port_,
    ]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | kept) as server,
    ):
        try:
            _wait(address, server)
            if recording:  # ids of uploads in parts come again as they were
                _ask(f"http://{address}/moto-api/seed?a=7", "POST")
            if known:
                _ask(f"http://{address}/moto-api/recorder/replay-recording", "POST")
            else:
                _ask(f"http://{address}/lake", "PUT")
            yield address
        finally:
            server.terminate()


def _ask(url: str, method: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method=method)).close()


def _wait(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{address}/moto-api/").close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("moto's server did not start")


def until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait for it; fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Silent(BaseHTTPRequestHandler):
    """A handler that logs nothing."""

    def reply(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server with this handler; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def answering(status: int, body: bytes = b"true", kind: str = "application/json") -> Iterator[str]:
    """An HTTP server that answers everything with this; gives the address of its API."""

    class Answer(Silent):
        def do_GET(self) -> None:
            self.reply(status, body, kind)

        do_POST = do_GET

    with http(Answer) as address:
        yield f"{address}/api"


@contextmanager
def saying(said: bytes | None) -> Iterator[int]:
    """Takes connections, sends this to each and hangs up, whatever it is asked; None keeps silent. Gives its
    port.
    """
    kept: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                kept.append(taken)
                if said is not None:
                    with suppress(OSError):
                        taken.recv(65_536)
                        taken.sendall(said)
                        taken.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for one in kept:
        one.close()


@contextmanager
def dribbling(head: bytes) -> Iterator[tuple[int, list[float]]]:
    """Answers every connection with `head`, then a byte each tenth of a second, and never ends. Gives its
    port, and when it was asked.
    """
    asked: list[float] = []
    over = threading.Event()

    def drip(taken: socket.socket) -> None:
        with suppress(OSError), taken:
            taken.recv(65_536)
            asked.append(time.monotonic())
            taken.sendall(head)
            while not over.wait(0.1):
                taken.sendall(b" ")

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], asked
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


class Road:
    """A way to another port of 127.0.0.1 that can be closed, with all that is under way on it, and opened
    again.
    """

    def __init__(self, to: int) -> None:
        self._to, self.port = to, free_port()
        self._open: list[socket.socket] = []

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._open = [listener]
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._open += [taken, there]
                for one, other in ((taken, there), (there, taken)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while sent := one.recv(65_536):
                other.sendall(sent)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)
