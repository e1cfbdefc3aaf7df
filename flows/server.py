"""The Prefect server of a run: the one that is set on this machine, or one that lasts as long as the run."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings, temporary_settings
from pydantic import ValidationError

from ranker.errors import NoAccess, Unreachable
from ranker.proxies import LOOPBACK

PATIENCE = 10.0
"""Seconds that a server which is set may take to answer."""
START_SECONDS = 180.0
"""A temporary one has to be there by then."""
STOP_SECONDS = FLUSH_SECONDS = 5.0
LONGEST = 1_000
"""Bytes of its answer that are looked at: `true`."""


def address() -> str:
    """Of the server that is set, by the environment or by a profile; empty where none is."""
    return PREFECT_API_URL.value() or ""


@contextmanager
def server() -> Iterator[None]:
    """A Prefect server for what is run inside: the one that is set, or a temporary one.

    The temporary one has a session of its own, so that Ctrl-C in a terminal reaches the run and not the
    server, which the run then still tells how it ended: Prefect's own has none, and a run that is interrupted
    asks it for minutes. It goes when this process goes, however that is ended.

    Raises:
        Unreachable: the server that is set does not answer, or a temporary one does not start.
        NoAccess: a temporary one has no folder to keep its database in.
    """
    if address():
        require_server()
        with _answering():
            yield
        return
    require_home()
    port = _free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "flows.temporary_server", str(port)],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Not at the end of this block: what Prefect has yet to send it sends when the program ends, before this
    # hook, which was registered first; with no server to take it, it would try for a minute.
    atexit.register(_stop, started)
    url = f"http://127.0.0.1:{port}/api"
    _wait(url, started)
    with temporary_settings({PREFECT_API_URL: url}):
        try:
            yield
        finally:
            _flush()


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server that is set: a temporary one knows of no run.

    Raises:
        Unreachable: none is set, or it does not answer.
    """
    if not address():
        raise Unreachable(
            "a Prefect server must be set",
            seen="no PREFECT_API_URL",
            remedy="`prefect server start`, then set PREFECT_API_URL to its address (http://…/api)",
        )
    require_server()
    try:
        with _answering(), get_client(sync_client=True) as client:
            yield client
    except ValidationError as error:
        raise _absent(address(), f"not what a Prefect server says: {str(error).splitlines()[0]}") from error


@contextmanager
def _answering() -> Iterator[None]:
    """What the server that is set did not answer, or did not as a Prefect server does, is named.

    Raises:
        Unreachable: it broke off, refused, or gave something else than JSON.
    """
    url = address()
    try:
        yield
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        if not str(error.request.url).startswith(url):
            raise
        raise _absent(url, f"{error.request.url.path}: {str(error).splitlines()[0]}") from error
    except json.JSONDecodeError as error:
        raise _absent(url, f"no JSON: {error.doc[:80]!r}") from error


def _flush() -> None:
    """Send the logs and events that wait, while the server's address is known."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=FLUSH_SECONDS)
    EventsWorker.drain_all(timeout=FLUSH_SECONDS)


def require_home() -> Path:
    """The folder in which a temporary server keeps its database.

    Raises:
        NoAccess: that folder may not be written.
    """
    folder = PREFECT_HOME.value()
    if not _made(folder) or not os.access(folder, os.W_OK):
        raise NoAccess(
            "a run's own Prefect server needs a folder that may be written, for its database",
            seen=str(folder),
            remedy="set HOME, or PREFECT_HOME, to one; or PREFECT_API_URL to a server that runs",
        )
    return folder


def _made(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _environment() -> dict[str, str]:
    me = psutil.Process()
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    own = {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",  # no services: nothing is scheduled for so short a time
        "PREFECT__SERVER_FINAL": "1",
        "RANKER_OWNER": f"{me.pid}:{me.create_time()}",
    }
    return os.environ | settings | own


def _wait(url: str, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while started.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=PATIENCE):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise Unreachable(
        "a run's own Prefect server must start",
        seen=f"it ended with code {started.returncode}, see above"
        if started.returncode is not None
        else f"no answer at {url} within {START_SECONDS:.0f} s",
        remedy="try again; or start one (`prefect server start`) and set PREFECT_API_URL to its address",
    )


def _stop(started: subprocess.Popen[bytes]) -> None:
    started.terminate()
    try:
        started.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


def require_server() -> None:
    """Return where no server is set or it answers.

    Raises:
        Unreachable: nobody answers, or with a fault of its own.
    """
    url = address()
    if not url:
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=PATIENCE) as answer:
            said = answer.read1(LONGEST)  # what comes at once: a server that dribbles would hold us for ever
    except HTTPError as error:  # it is there; whether it lets us in is between Prefect and it
        if error.code < 500:
            return
        seen = f"status {error.code}"
    except (URLError, OSError, ValueError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), SSLError):  # Prefect may know other certificates
            return
        text = str(getattr(error, "reason", error))
        seen = text if text.isprintable() else f"no HTTP: {ascii(text)[:80]}"
    else:
        if _is_json(said):
            return
        seen = f"no Prefect server: {said[:80]!r}"
    raise _absent(url, seen)


def _is_json(said: bytes) -> bool:
    try:
        json.loads(said)
    except ValueError:
        return False
    return True


def _absent(url: str, seen: str) -> Unreachable:
    return Unreachable(
        "the Prefect server that is set must answer",
        seen=f"{url}: {seen}",
        remedy=(
            "start it (`prefect server start`), or unset PREFECT_API_URL (`prefect config unset"
            " PREFECT_API_URL` where a profile sets it): a run then starts a temporary server of its own"
        ),
    )


def database_size() -> int:
    """Bytes of the SQLite file of a server on this machine; 0 where it is another's, or not in its place."""
    path = PREFECT_HOME.value() / "prefect.db"
    here = urlsplit(address()).hostname in LOOPBACK
    return path.stat().st_size if here and path.is_file() else 0
