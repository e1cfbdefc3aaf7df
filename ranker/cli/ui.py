"""`ranker ui`: the local web page over the lake."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from ranker.cli.params import Catalog, Home
from ranker.config import data_home
from ranker.errors import BadConfig
from ranker.resources import shipped

QUIET = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port on this machine.")] = 8501,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen on. The page has no password: 127.0.0.1 is for you alone."
        ),
    ] = "127.0.0.1",
    home: Home = "",
    lake: Catalog = "",
) -> None:
    """Look at runs, episodes, contracts and trainings in a browser. It only reads; Ctrl-C ends it.

    For example: `ranker ui --port 8600`
    """
    if importlib.util.find_spec("streamlit") is None:
        raise BadConfig(
            "the page is shown by Streamlit",
            seen="no package streamlit",
            remedy="pip install 'r1-ranker[ui]'",
        )
    options = {"server.address": host, "server.port": str(port), **QUIET}
    command = [sys.executable, "-m", "streamlit", "run", str(shipped("ui", "main.py"))]
    command += [f"--{name}={value}" for name, value in options.items()]
    typer.echo(f"http://{host}:{port}")
    given = {"RANKER_HOME": str(data_home(home)), **({"RANKER_LAKE": lake} if lake else {})}
    # in this process's place: a signal meant for the page reaches it
    os.execve(sys.executable, command, {**os.environ, **given})
