"""The wheel, as somebody has it who never saw this repository: built, installed into an environment of its
own, run in an empty folder, whose path has what paths may have, behind a proxy that answers nobody.

The environment sees the packages that this one has, which would take gigabytes to install again, and not the
checkout: a `.pth` file names the outer site-packages, and Python does not process the `.pth` files that lie
in a folder so named, an editable installation's among them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from io import StringIO
from pathlib import Path

import polars as pl
import pytest

from ranker.refs import PROJECT
from tests.ranker.lake.servers import until
from tests.ranker.serving.running import PATIENCE, in_process, is_permutation, question

LEADING_BACK = ("PYTHONPATH", "VIRTUAL_ENV", "PREFECT_API_URL", "NO_PROXY", "no_proxy")
DEAD_PROXY = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
SHIPPED = ("ranker", "flows", "contracts", "sql")
BESIDE = (
    *("tests", "benchmarks", "docs", "typings", "Makefile", "mkdocs.yml", "prefect.yaml", "pyproject.toml"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", ".gitignore"),
)
"""What the sdist has besides."""
LITTLE = (
    "distill.traces=200",
    "train.sft.max_steps=6",
    "train.grpo.max_steps=1",
    "evaluate.max_queries=10",
)
"""The preset `tiny` at a fraction of its length: what is tested here is that each part finds its files."""
WHERE = """
import json, sys
import contracts.gate, flows.retrain, flows.studies
import ranker.cli.main, ranker.resources, ranker.train.worker.__main__
own = {name: module.__file__ for name, module in sys.modules.items()
       if name.partition(".")[0] in ("ranker", "flows", "contracts") and getattr(module, "__file__", None)}
print(json.dumps([*own.values(), str(ranker.resources.sql_folder())]))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and the empty folder in which its commands run."""

    prefix: Path
    folder: Path
    environment: dict[str, str]

    @property
    def bin(self) -> Path:
        return self.prefix / "bin"

    def run(self, *command: str, codes: tuple[int, ...] = (0,)) -> str:
        """A command of the environment; gives what it printed."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        assert "Error logging to API" not in done.stderr, "the server went before the last lines of the log"
        return done.stdout

    def query(self, statement: str) -> pl.DataFrame:
        return pl.read_csv(StringIO(self.run("ranker", "query", statement, "--format", "csv")))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Built of the sdist, as `make dist` does."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(sdist.parent), str(sdist))
    (built,) = sdist.parent.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp("elsewhere")
    prefix, folder = root / "venv", root / "it's an empty folder? #1 %20, ü"
    folder.mkdir()
    venv.create(prefix, symlinks=True)
    _pip("--python", str(prefix / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    (own,) = prefix.glob("lib/python*/site-packages")
    outer = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (own / "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    return Installed(prefix, folder, _environment(prefix, root))


@pytest.fixture(scope="module")
def retrained(installed: Installed) -> str:
    """What `ranker retrain --preset tiny` printed."""
    given = [part for assignment in LITTLE for part in ("--set", assignment)]
    return installed.run("ranker", "retrain", "--preset", "tiny", *given)


def _pip(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *command], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout + done.stderr


def _environment(prefix: Path, root: Path) -> dict[str, str]:
    """This process's, without what leads back to the checkout, to its data, or to the tests' Prefect
    server.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in LEADING_BACK and not name.startswith("RANKER_")
    }
    return (
        kept
        | DEAD_PROXY
        | {
            "PATH": f"{prefix / 'bin'}{os.pathsep}{kept.get('PATH', '')}",
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "GX_ANALYTICS_ENABLED": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
        }
    )


def test_both_are_what_an_index_takes(sdist: Path, wheel: Path) -> None:
    """And the version has its entry in the changelog."""
    command = [sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr
    version = sdist.name.removeprefix("r1_ranker-").removesuffix(".tar.gz")
    changes = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changes)


def test_the_sdist_holds_what_is_kept_and_nothing_that_lies_about(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "tests/test_wheel.py"} <= held
    tops = {name.partition("/")[0] for name in held}
    assert tops <= {*SHIPPED, *BESIDE} and not [name for name in held if name.endswith((".pyc", ".log"))]


def test_it_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    found = (path for top in SHIPPED for path in (PROJECT / top).rglob("*") if path.is_file())
    names = {path.relative_to(PROJECT).as_posix() for path in found if "__pycache__" not in path.parts}
    wanted = {f"ranker/{name}" if name.startswith("sql/") else name for name in names}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_its_metadata_is_complete(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    shown = message_from_bytes(archive.read(path))
    assert (shown["Name"], shown["License-Expression"]) == ("r1-ranker", "Apache-2.0")
    assert shown["Author"] == "r1-ranker contributors" and shown["Summary"] and shown["Keywords"]
    assert "Typing :: Typed" in shown.get_all("Classifier", [])
    assert "Project-URL" not in shown and "Home-page" not in shown
    (licence,) = (name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
    assert b"Apache License" in archive.read(licence) and b"END OF TERMS" in archive.read(licence)


def test_no_module_and_no_sql_comes_from_the_checkout(installed: Installed) -> None:
    found = json.loads(installed.run("python", "-c", WHERE))
    assert len(found) > 50 and all(Path(path).is_relative_to(installed.prefix) for path in found)


def test_the_doctor_finds_the_files_and_says_what_is_to_be_fetched(installed: Installed) -> None:
    shown = installed.run("ranker", "doctor", codes=(1,))
    assert re.search(r"ok +Package files", shown) and "ranker fetch" in shown


def test_a_road_from_end_to_end_in_an_empty_folder(installed: Installed, retrained: str) -> None:
    assert [path.name for path in installed.folder.iterdir()] == ["data"]
    (report,) = (installed.folder / "data" / "reports").glob("*.html")
    assert report.stat().st_size > 10_000
    assert "r1-ranker version 1: " in retrained and report.name in retrained


def test_its_tables_are_asked(installed: Installed, retrained: str) -> None:
    assert {"rl", "sft", "untrained", "random"} <= set(installed.query("select * from leaderboard")["arm"])


def test_its_report_is_written_again(installed: Installed, retrained: str) -> None:
    (report,) = (installed.folder / "data" / "reports").glob("*.html")
    report.unlink()
    assert report.name in installed.run("ranker", "report")
    assert report.is_file()


def test_a_server_answers_and_brings_what_it_served_into_the_lake(
    installed: Installed, retrained: str
) -> None:
    home, log = installed.folder / "data", installed.folder.parent / "serve.log"
    options = ("--model", "models:/r1-ranker/1", "--task", "synthetic", "--max-tokens", "64", "--log")
    with in_process(
        home,
        log,
        *options,
        program=[str(installed.bin / "ranker")],
        cwd=installed.folder,
        env=installed.environment,
    ) as running:
        until(lambda: running.health().status_code == 200)
        answered = running.post(question(4))
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0, log.read_text()
    assert is_permutation(answered.json(), 4)
    assert installed.query("select count(*) as n from served_requests")["n"].item() == 1
