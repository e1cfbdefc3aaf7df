"""compose.yaml as Docker Compose reads it, and its services as processes of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.healthcheck import SERVE
from ranker.refs import PROJECT
from tests.ranker.serving.running import RANKER

FILE = PROJECT / "compose.yaml"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<other>[^}]*))?\}")
PROGRAMS = {
    "ranker": RANKER,
    "prefect": (sys.executable, "-m", "prefect"),
    "mlflow": (sys.executable, "-m", "mlflow"),
}
OURS = ("PREFECT_", "RANKER_", "MLFLOW_", "AWS_", "PG")
LISTENS = {"postgres": 5432, "storage": 9000, "prefect": 4200, "mlflow": 5000, "worker": 8080, "serve": 8080}
"""Ports of the services in their own network."""


class Unset(Exception):
    """A variable without which nothing starts."""


def example() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def read(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables put in.

    Raises:
        Unset: one that it asks for is not there, or empty.
    """

    def value(found: re.Match[str]) -> str:
        given = variables.get(found["name"], "")
        if not given and found["kind"] == "?":
            raise Unset(found["name"])
        return given or (found["other"] if found["kind"] == "-" else "") or ""

    return yaml.safe_load(VARIABLE.sub(value, FILE.read_text(encoding="utf-8")))


class Machine:
    """One machine instead of a network: a service's name and port become a port of 127.0.0.1, and its folders
    become folders below `root`.
    """

    def __init__(self, services: Mapping[str, Any], ports: Mapping[str, int], root: Path) -> None:
        self._services, self._ports, self._root = services, ports, root

    def folder(self, volume: str) -> Path:
        """Where a volume of the file lies."""
        made = self._root / volume
        made.mkdir(parents=True, exist_ok=True)
        return made

    def here(self, service: str, text: str) -> str:
        """An argument or a variable of this service, as it is on this machine."""
        for name, port in self._ports.items():
            inside = LISTENS[name]
            text = re.sub(rf"\b{name}:{inside}\b", f"127.0.0.1:{port}", text)
            text = text.replace(f"host={name} port={inside}", f"host=127.0.0.1 port={port}")
            if name == service:  # what it listens on, alone or in an address
                text = re.sub(rf"(?<=127\.0\.0\.1:){inside}\b|^{inside}$", str(port), text)
        for mounted in self._services[service].get("volumes", ()):
            volume, inside, *_ = mounted.split(":")
            text = re.sub(rf"^{re.escape(inside)}(?=/|$)", str(self.folder(volume)), text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def environment(self, service: str) -> dict[str, str]:
        """What the process of a service has: what the file says, and of this process's what is not about the
        project.
        """
        said = {"RANKER_HEALTH": SERVE} | self._services[service].get("environment", {})
        return (
            {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
            | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
            | {"PYTHONPATH": str(PROJECT), "PREFECT_HOME": str(self.folder(f"home-{service}"))}
            | {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
            | {name: self.here(service, str(value)) for name, value in said.items()}
        )

    def command(self, service: str) -> list[str]:
        """The command line of a service of the project's own image."""
        given = self._services[service]
        program, *rest = [*given.get("entrypoint", ["ranker"]), *given["command"]]
        return [*PROGRAMS[program], *(self.here(service, one) for one in rest)]

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """The service as a process; what it prints goes to `root`."""
        with (self._root / f"{service}.log").open("ab") as log:
            return subprocess.Popen(
                self.command(service),
                env=self.environment(service),
                cwd=self._root,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
