"""What `ranker doctor` looks at: each finding says whether it is well, what was seen and how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import cache_from_source, find_spec
from pathlib import Path

import psutil

from ranker.config import RetrainParams, task
from ranker.datasets.download import display_name, is_remote, place
from ranker.errors import RankerError, Unreachable, by_disk
from ranker.lake import open_lake
from ranker.proxies import EXCEPTIONS, in_use
from ranker.resources import shipped, sql_folder

PACKAGES = (
    "duckdb",
    "duckdb-extension-ducklake",
    "duckdb-extension-sqlite-scanner",
    "polars",
    "great-expectations",
    "prefect",
    "mlflow",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "ir-measures",
    "bm25s",
)
UNWANTED = ("torchvision", "torchaudio")
GIB = 2**30
NEEDED_DISK, NEEDED_MEMORY = 3 * GIB, 9 * GIB
"""Of the default preset, whose RL takes 8.7 GiB at its peak."""
ENVIRONMENT_REMEDY = "run `make install`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. Only what is `needed` makes it a failure."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""
    needed: bool = True


def examine(params: RetrainParams) -> Iterator[Finding]:
    """Look at everything that `ranker retrain` with these parameters needs."""
    yield _python()
    yield _project()
    yield from _packages()
    yield from _bytecode()
    yield _tried("Lake", lambda: _lake(params))
    yield _tried("Registry", lambda: _registry(params))
    for name in params.ingest.tasks:
        yield _data(params, name)
    yield from _models(params)
    yield from _machine(params.home_path)
    yield _gpu()
    yield from _proxy()
    yield from _server()


def _python() -> Finding:
    return Finding(
        "Python",
        (3, 11) <= sys.version_info[:2] < (3, 14),
        platform.python_version(),
        "use Python 3.11 to 3.13: `make clean install PYTHON=python3.12`",
    )


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    seen = (
        f"missing: {', '.join(missing)}"
        if missing
        else ", ".join(
            f"{name} {versions[name]}"
            for name in ("duckdb", "prefect", "mlflow", "torch", "transformers", "trl")
        )
    )
    yield Finding("Packages", not missing, seen, ENVIRONMENT_REMEDY)
    unwanted = [name for name in UNWANTED if _version(name)]
    if unwanted:
        yield Finding(
            "Packages",
            False,
            f"{', '.join(unwanted)} installed: a build for another torch breaks transformers",
            f"pip uninstall {' '.join(unwanted)}",
            needed=False,
        )


def _bytecode() -> Iterator[Finding]:
    """Where Python may keep none and the installation has none, every command compiles torch and the rest
    anew: of the first ranking's 22 seconds on two slow cores that was 12.
    """
    found = find_spec("transformers") if sys.dont_write_bytecode else None
    if found and found.origin and not Path(cache_from_source(found.origin)).is_file():
        yield Finding(
            "Bytecode",
            False,
            "PYTHONDONTWRITEBYTECODE is set, and the packages are not compiled: each command does it anew",
            f"unset it, or once: python -m compileall -q {Path(found.origin).parents[1]}",
            needed=False,
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _lake(params: RetrainParams) -> str:
    """Opens the lake for real (and so creates it): this proves the extensions, the catalog and the right
    to write.
    """
    with open_lake(params.home_path, params.lake) as lake:
        done = lake.rows("select count(*) from stage_runs").item()
        where = params.lake or params.home_path / "lake"
        return f"{where}: snapshot {lake.snapshot()}, {done} finished stage runs"


def _registry(params: RetrainParams) -> str:
    from ranker.stages import registry

    found = registry.champion(params.home_path, params.register_)
    return f"version {found.version} is champion" if found else "no version is champion"


def _tried(name: str, look: Callable[[], str]) -> Finding:
    """What `look` has seen, or what kept it from seeing."""
    try:
        return Finding(name, True, look())
    except ImportError as error:
        return Finding(name, False, str(error), ENVIRONMENT_REMEDY)
    except (RankerError, OSError) as error:
        known = error if isinstance(error, RankerError) else by_disk(error)
        if known is None:
            return Finding(name, False, str(error), "give another data folder, with --home or $RANKER_HOME")
        return Finding(name, False, known.seen, known.remedy)


def _data(params: RetrainParams, name: str) -> Finding:
    given, own = task(name), params.ingest.locations.get(name, "")
    asked = own or given.location
    if not asked:
        return Finding(f"Data {name}", True, "comes with the program")
    if is_remote(asked):
        return _address(params, name, asked)
    path = Path(own) if own else params.home_path / given.location
    remedy = (
        f"name an existing folder in ingest.locations.{name}"
        if own
        else f"run `ranker fetch`, or `--set ingest.locations.{name}=/your/folder`"
    )
    return Finding(
        f"Data {name}", path.exists(), str(path) if path.exists() else f"nothing at {path}", remedy
    )


def _address(params: RetrainParams, name: str, address: str) -> Finding:
    """Data that `ranker ingest` downloads by itself: only the network may be missing then."""
    try:
        path = place(params.home_path, address)
    except RankerError as error:
        return Finding(f"Data {name}", False, error.seen, error.remedy)
    seen = str(path) if path.exists() else f"not yet downloaded from {display_name(address)}"
    return Finding(
        f"Data {name}", path.exists(), seen, "run `ranker fetch` while there is a network", needed=False
    )


def _models(params: RetrainParams) -> Iterator[Finding]:
    for folder, needed in (
        (params.train.policy.model_name_or_path, True),
        (params.evaluate.extra_model, False),
        (params.evaluate.dense_model, False),
        (params.distill.encoder, True),
    ):
        if not folder or folder == "scratch":
            continue
        path = Path(folder) if Path(folder).is_absolute() else params.home_path / folder
        ok = (path / "config.json").is_file()
        yield Finding(
            f"Model {folder}",
            ok,
            str(path) if ok else f"no config.json in {path}",
            "run `ranker fetch`",
            needed=needed,
        )


def _machine(home: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    yield Finding(
        "Disk",
        free >= NEEDED_DISK,
        f"{free / GIB:.0f} GiB free at {home}",
        f"free {NEEDED_DISK // GIB} GiB, or take another disk with --home",
    )
    memory = psutil.virtual_memory().available
    yield Finding(
        "Memory",
        memory >= NEEDED_MEMORY,
        f"{memory / GIB:.1f} GiB available",
        f"{NEEDED_MEMORY // GIB} GiB are comfortable; lower train.sft.per_device_train_batch_size and"
        " evaluate.per_device_eval_batch_size",
        needed=False,
    )
    yield Finding("Cores", True, f"{os.cpu_count()}")


def _gpu() -> Finding:
    """Asked in a process of its own: torch takes seconds, and a broken build should not take the doctor
    with it.
    """
    script = (
        "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else f'none that"
        " torch {torch.__version__} sees')"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if answer.returncode:
        return Finding(
            "GPU",
            False,
            f"torch cannot be imported: {answer.stderr.strip().splitlines()[-1]}",
            ENVIRONMENT_REMEDY,
        )
    return Finding(
        "GPU",
        True,
        answer.stdout.strip()
        + (": the CPU does the work (enough for smollm2)" if answer.stdout.startswith("none") else ""),
    )


def _server() -> Iterator[Finding]:
    """The server that is set; and what it lacks for the deployments, whether it keeps its own database small
    and its slots over a restart: needed by those who schedule, and by nobody else.
    """
    try:
        from flows.bootstrap import Bootstrap, examine, leases_last, vacuumed
        from flows.server import address, connected, database_size, require_home
    except ImportError as error:
        yield Finding("Prefect", False, f"cannot be imported: {error}", ENVIRONMENT_REMEDY)
        return
    if not address():
        own = "no PREFECT_API_URL: each run starts a temporary server of its own"
        yield _tried("Prefect", lambda: f"{own}, whose database is in {require_home()}")
        return
    try:
        with connected() as client:
            wrong = [part for part in examine(client, Bootstrap()) if part.wrong]
            vacuum, size, leases = vacuumed(client), database_size(), leases_last(client)
    except Unreachable as error:
        yield Finding("Prefect", False, error.seen, error.remedy)
        return
    except RankerError as error:
        yield Finding("Schedules", False, error.seen, error.remedy, needed=False)
        return
    yield Finding("Prefect", True, address())
    yield Finding(
        "Schedules",
        not wrong,
        "; ".join(f"{part.kind} {part.name}: {part.wrong}" for part in wrong)
        or "pool, queues, deployments and automations are as prefect.yaml has them",
        "run `ranker bootstrap`",
        needed=False,
    )
    yield Finding(
        "Prefect's database",
        {"events", "flow_runs"} <= vacuum,
        f"{f'{size / 2**20:.0f} MiB, ' if size else ''}old {' and '.join(sorted(vacuum)) or 'nothing'} taken"
        " away",
        "set PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs for the server, or it grows for ever",
        needed=False,
    )
    yield Finding(
        "Prefect's slots",
        leases,
        "a restart of the server keeps them" if leases else "a restart of the server forgets who holds them",
        "set PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem for"
        " the server, or it ends the runs that it finds at work",
        needed=False,
    )


def _proxy() -> Iterator[Finding]:
    """Only where one is named. One of SOCKS needs a package, or no HTTP client can be made at all, not even
    for an address that goes past it.
    """
    named = in_use()
    if not named:
        return
    past = os.environ.get(EXCEPTIONS[0]) or "nobody"
    socks = [name for name, value in named.items() if value.lower().startswith("socks")]
    if socks and _version("socksio") is None:
        yield Finding(
            "Proxy",
            False,
            f"{', '.join(socks)}: SOCKS, without the package socksio",
            "pip install socksio, or unset it",
        )
    else:
        yield Finding("Proxy", True, f"{', '.join(sorted(named))}; past it go {past}")


def _project() -> Finding:
    """Whether the files that the package reads are there: a broken installation lacks them."""
    wanted = (sql_folder() / "migrations", shipped("presets"), shipped("tasks"))
    missing = [str(folder) for folder in wanted if not folder.is_dir()]
    return Finding(
        "Package files",
        not missing,
        f"no {', '.join(missing)}" if missing else f"{shipped()}, {sql_folder()}",
        "install r1-ranker again: `pip install --force-reinstall --no-deps` and its wheel, or `-e .` in a"
        " checkout",
    )
