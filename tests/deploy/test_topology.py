"""The processes of compose.yaml without containers, on one machine: PostgreSQL, S3, Prefect, MLflow, a
worker, `ranker serve` and a proxy with TLS; a retraining, a request, a question; then all of them again.

Commands and variables are the file's (tests/deploy/compose.py), so that it cannot differ from what ran here.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import which
from typing import Any
from unittest.mock import patch

import httpx
import polars as pl
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ranker.lake import open_lake
from ranker.refs import PROJECT
from tests.deploy import compose
from tests.deploy.compose import Machine
from tests.full_length import in_bench_alone
from tests.ranker.lake import servers
from tests.ranker.lake.servers import free_port, until
from tests.ranker.serving.running import is_permutation, question

BINARIES = servers.postgres_binaries()
CADDY = which("caddy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = [
    pytest.mark.skipif(
        BINARIES is None, reason="no PostgreSQL server on this machine (Debian: apt-get install postgresql)"
    ),
    pytest.mark.skipif(CADDY is None, reason="no Caddy on this machine (it is one of the extras `dev`)"),
]

SECRETS = {
    "POSTGRES_PASSWORD": "p4ssw0rd-of-the-test",
    "AWS_ACCESS_KEY_ID": "key-of-the-test",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
    "RANKER_TOKEN": "token-of-the-test",
    "RANKER_TASK": "synthetic",
}
TINY = {
    "preset": "tiny",
    "distill": {"traces": 200},
    "train": {"threads": 1, "sft": {"max_steps": 6}, "grpo": {"max_steps": 1}},
    "evaluate": {"models": ["rl"], "strategies": ["direct"], "thinking": [False], "max_queries": 8},
}
COUNTS = """select stage, count(*) as n from stage_runs group by stage union all
select 'episodes', count(*) from episodes union all select 'served', count(*) from served_requests"""


@dataclass
class Site:
    """A machine with all of it; what lies in `root`, in PostgreSQL and in the store stays."""

    machine: Machine
    database: servers.Postgres
    ports: dict[str, int]
    root: Path

    @contextmanager
    def up(self) -> Iterator[None]:
        """What others need, until it answers; ended as `docker compose stop` does."""
        with ExitStack() as stack:
            stack.enter_context(servers.s3(self.ports["storage"], self.root / "lake.recording"))
            for name in ("prefect", "mlflow"):
                stack.enter_context(self.running(name))
            for name in ("prefect", "mlflow"):
                until(lambda name=name: self.healthy(name))
            yield

    @contextmanager
    def running(self, service: str) -> Iterator[subprocess.Popen[bytes]]:
        """A service of the file; it ends in peace when it is told to."""
        process = self.machine.start(service)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def healthy(self, service: str) -> bool:
        """As the image's health check sees it."""
        command = [sys.executable, str(PROJECT / "deploy" / "healthcheck.py")]
        return subprocess.run(command, env=self.machine.environment(service), check=False).returncode == 0

    def ended(self, service: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.machine.command(service),
            env=self.machine.environment(service),
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )

    def ranker(self, *arguments: str) -> str:
        """A command of the project as it runs in the worker's container."""
        done = subprocess.run(
            [*compose.PROGRAMS["ranker"], *arguments],
            env=self.machine.environment("worker"),
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def counts(self) -> dict[str, int]:
        """Rows of the lake, as its catalog in PostgreSQL and its files in S3 say."""
        with patch.dict(os.environ, environment := self.machine.environment("worker")):
            home = Path(environment["RANKER_HOME"])
            with open_lake(home, environment["RANKER_LAKE"], read_only=True) as lake:
                return dict(lake.rows(COUNTS).iter_rows())

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(f"http://127.0.0.1:{self.ports['prefect']}/api")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    assert BINARIES is not None
    with servers.postgres(BINARIES, user="ranker") as database:
        script = PROJECT / "deploy" / "postgres" / "databases.sql"
        psql = [str(BINARIES / "psql"), "-h", "127.0.0.1", "-p", str(database.port), "-U", "ranker"]
        subprocess.run([*psql, "-v", "ON_ERROR_STOP=1", "-q", "-f", str(script)], check=True)
        names = ("storage", "prefect", "mlflow", "worker", "serve")
        ports = {"postgres": database.port, **{name: free_port() for name in names}}
        services = compose.read(compose.example() | SECRETS)["services"]
        yield Site(Machine(services, ports, root), database, ports, root)


@contextmanager
def serving(site: Site) -> Iterator[httpx.Client]:
    """`ranker serve`, and a client that reaches it by TLS; it knows the authority of the proxy alone."""
    own, home = free_port(), site.machine.folder("proxy")
    environment = site.machine.environment("proxy") | {
        "RANKER_HTTPS_PORT": str(own),
        "RANKER_HTTP_PORT": str(free_port()),
        "RANKER_BIND": "127.0.0.1",
        "XDG_DATA_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }
    config = PROJECT / "deploy" / "proxy" / "Caddyfile"
    authority = home / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    with (site.root / "proxy.log").open("ab") as log, site.running("serve") as server:
        command = [str(CADDY), "run", "--config", str(config)]
        proxy = subprocess.Popen(command, env=environment, cwd=site.root, stdout=log, stderr=log)
        try:
            until(lambda: site.healthy("serve"))
            until(authority.is_file)
            trusted = ssl.create_default_context(cafile=str(authority))
            with httpx.Client(base_url=f"https://localhost:{own}", verify=trusted, trust_env=False) as client:
                until(lambda: _status(client) == 200)
                yield client
        finally:
            proxy.terminate()
            proxy.wait(60)
    assert server.returncode == 0, (site.root / "serve.log").read_text()


def _status(client: httpx.Client) -> int:
    try:
        return client.get("/health").status_code
    except httpx.TransportError:
        return 0


def retrain(client: SyncPrefectClient) -> FlowRun:
    """A run of the deployment `retrain/manual`, once it has ended."""
    manual = client.read_deployment_by_name("retrain/manual")
    run = client.create_flow_run_from_deployment(manual.id, parameters={"params": TINY})
    until(lambda: (state := client.read_flow_run(run.id).state) and state.is_final())
    return client.read_flow_run(run.id)


def asked(client: httpx.Client) -> dict[str, Any]:
    token = {"Authorization": f"Bearer {SECRETS['RANKER_TOKEN']}"}
    answered = client.post("/v1/rerank", json=question(4), headers=token, timeout=60)
    assert answered.status_code == 200, answered.text
    return answered.json()


@in_bench_alone
def test_all_of_it_and_all_of_it_again(site: Site) -> None:
    with site.up():
        assert site.ended("bootstrap").returncode == 0
        with site.running("worker"), site.client() as client:
            run = retrain(client)
            assert run.state is not None and run.state.is_completed(), run.state
            assert site.healthy("worker")
        site.ranker("promote", "1", "--anyway")
        with serving(site) as proxied:
            first = asked(proxied)
            assert is_permutation(first, 4) and first["model"] == "r1-ranker:1"
            assert proxied.post("/v1/rerank", json=question(4)).status_code == 401
            assert proxied.get("/metrics").status_code == 404
        before = site.counts()
        answer = site.ranker("query", COUNTS, "--format", "csv")
        assert dict(pl.read_csv(StringIO(answer)).iter_rows()) == before
    assert before["served"] == 1 and before["episodes"] > 8 and before["register"] == 1
    site.database.stop()
    site.database.start()
    with site.up():
        assert site.counts() == before
        with site.client() as client:
            assert {one.name for one in client.read_deployments()} >= {"nightly", "weekly", "champion"}
            state = client.read_flow_run(run.id).state
            assert state is not None and state.is_completed()
        with serving(site) as proxied:
            assert asked(proxied)["results"] == first["results"]
        assert site.counts()["served"] == 2


@in_bench_alone
def test_no_secret_is_in_a_command_or_a_log(site: Site) -> None:
    written = "".join(path.read_text() for path in site.root.glob("*.log"))
    lines = [site.machine.command(name) for name in ("prefect", "mlflow", "bootstrap", "worker", "serve")]
    said = written + json.dumps(lines)
    assert written and not [one for name, one in SECRETS.items() if name != "RANKER_TASK" and one in said]
