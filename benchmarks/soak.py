"""A soak: one tiny retraining a night on a real Prefect server and worker, most killed on the way, and
whether lake, registry and disk agree at the end with what the server says.

Every night has data of its own, so that all six stages have to run. A night whose run is disturbed is asked
for again until one of its runs completes. Somebody looks meanwhile (`flows.watch`), collects every ten nights
(`maintain/weekly`), and makes the newest version champion then.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import psutil
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from benchmarks.table import Row, table
from flows.bootstrap import Bootstrap, bootstrap
from flows.watch import HOLDING, WatchParams, watch
from ranker.cli.doctor import examine
from ranker.config import STAGES, RetrainParams, parse_params
from ranker.config.tasks import TASKS
from ranker.lake import Lake, maintenance, open_lake
from ranker.refs import PROJECT
from ranker.reports import report
from ranker.serving.rank_request import rank
from ranker.stages import registry
from ranker.stages.retention import ROWS
from tests.flows.servers import PrefectServer, prefect_server

TASK = """
name = "nightly"
scenario = "synthetic"
reader = "synthetic"
pool_size = 4
wording = "Rank attribute sets by how many attributes they share with the query."
options = {{ queries = {queries}, attributes = 12, chosen = 3, seed = {seed} }}

[likelihood]
direction = "query"
context = "Attributes: {{candidate}}\\nRequest:"
continuation = " {{query}}"
normalize = "mean"
temperature = 0.25
"""
QUERIES = 60
SMALL = {
    "preset": "tiny",
    "ingest": {"tasks": ["nightly"]},
    "distill": {"traces": 200},
    "train": {
        "threads": 1,
        "policy": {"init_from": "champion"},
        "sft": {"max_steps": 6, "save_steps": 2},
        "grpo": {"max_steps": 2, "prompts": 32, "save_steps": 1},
    },
    "evaluate": {
        "models": ["rl"],
        "strategies": ["direct"],
        "thinking": [False],
        "max_queries": 12,
        "bootstrap": 100,
    },
}
"""As few rows and steps as every stage takes."""
KINDS = ("flow", "worker", "machine", "trainer", "server")
"""What is killed: the run's process, its worker, both with all that they have started, the trainer, the
server (which is started again).
"""
DISTURBED = 0.6
"""Share of the runs that something happens to."""
MOST_RUNS = 12
"""Of one night; then it is given up."""
LIMIT_SECONDS = 900.0
LOOK_SECONDS = 5.0
EVERY = 10
"""Nights from one collection to the next."""
FIRST_GUESS = 45.0
"""Seconds that a run takes, until some have been seen."""
RETENTION = {"versions": 2, "days": 0, "grace_hours": 0}
"""Nothing is young here."""
BOUND_GROWTH = 1.5
"""What the disk may hold after the last collection, over what it held after the first: by model that is kept,
as every collection makes one more champion, and champions stay.
"""


@dataclass
class Night:
    """One retraining that was asked for."""

    number: int
    runs: list[UUID] = field(default_factory=list)
    """In their order; the last one is that which completed, if any did."""
    completed: bool = False
    disturbed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Ends of runs that nobody had disturbed."""


@dataclass(frozen=True)
class Disk:
    """What a data folder holds."""

    night: int
    kept: int
    """Models that a kept version has."""
    sizes: dict[str, int]
    """Bytes by folder (or file); `files` is their number."""

    @property
    def total(self) -> int:
        return sum(size for name, size in self.sizes.items() if name != "files")

    def __str__(self) -> str:
        lake, files = self.sizes.get("lake", 0) / 2**20, self.sizes.get("files", 0)
        return (
            f"{self.night}: {self.total / 2**20:.1f} MiB in {files} files, {self.kept} models kept,"
            f" lake {lake:.1f} MiB"
        )


@dataclass
class Soak:
    """What was seen."""

    nights: list[Night] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    """After each collection."""
    found: Counter[str] = field(default_factory=Counter)
    """Of each kind, what the watch found, and how often the worker had ended."""
    hours: float = 0.0
    resumed: int = 0
    """Nights whose stages are of several of its runs."""
    faults: list[str] = field(default_factory=list)
    """What does not agree at the end."""
    doctor: list[str] = field(default_factory=list)
    """What `ranker doctor` found wrong at the end."""


class Site:
    """Server, worker and data folder of a soak, and what disturbs them."""

    def __init__(self, room: Path, server: PrefectServer, client: SyncPrefectClient, seed: int) -> None:
        self.room, self.server, self.client = room, server, client
        self.home, self.tasks = room / "home", room / "tasks"
        self.tasks.mkdir(exist_ok=True)
        os.environ[TASKS] = str(self.tasks)  # the champion's answer at the end is asked for here
        self.chance = random.Random(seed)
        self.typical = [FIRST_GUESS]
        self.look = WatchParams(
            one_machine=True, pending_seconds=60, silent_seconds=150, periods=10_000, home=str(self.home)
        )
        self.worker = self._worker()

    def _worker(self) -> psutil.Popen:
        environment = os.environ | {
            "PREFECT_API_URL": self.server.url,
            "PREFECT_HOME": str(self.room / "worker"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": str(PROJECT),
            TASKS: str(self.tasks),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local-process"]
        with (self.room / "worker.log").open("ab") as log:
            return psutil.Popen(
                command, env=environment, cwd=self.room, stdout=log, stderr=log, start_new_session=True
            )

    def supervise(self) -> bool:
        """What systemd does: a worker that starts while the server is away ends. Whether it had to."""
        ended = self.worker.poll() is not None
        if ended:
            self.worker = self._worker()
        return ended

    def close(self) -> None:
        for process in _tree(self.worker):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.worker.wait()

    @property
    def params(self) -> RetrainParams:
        return parse_params({**SMALL, "home": str(self.home)})

    def ask(self, deployment: str, params: dict) -> FlowRun:
        found = self.client.read_deployment_by_name(deployment)
        # With a key, as a request whose answer is lost in a server's death is sent again.
        key = str(uuid4())
        return self.client.create_flow_run_from_deployment(
            found.id, parameters={"params": params}, idempotency_key=key
        )

    def process(self, run: FlowRun) -> psutil.Process | None:
        """Of a run, where the server knows it and it lives."""
        pid = self.client.read_flow_run(run.id).infrastructure_pid or ""
        with suppress(psutil.NoSuchProcess, ValueError):
            return psutil.Process(int(pid))
        return None

    def disturb(self, kind: str, run: FlowRun) -> bool:
        """Whether there was anything to kill."""
        flow = self.process(run)
        if kind == "server":
            self.server.kill()
            time.sleep(self.chance.uniform(0, 5))
            self.server.start()
            return True
        if kind == "trainer":
            return flow is not None and _kill(_trainers(flow))
        if kind == "flow":
            return flow is not None and _kill([flow])
        _kill([*(_tree(flow) if flow and kind == "machine" else ()), self.worker])
        self.worker.wait()
        self.worker = self._worker()
        return True


def _tree(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [*process.children(recursive=True), process]
    return []


def _kill(processes: Sequence[psutil.Process]) -> bool:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    return bool(processes)


def _trainers(flow: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for one in _tree(flow):
        with suppress(psutil.NoSuchProcess):
            found += [one] if "ranker.train.worker" in one.cmdline() else []
    return found


def soak(room: Path, nights: int, hours: float = math.inf, seed: int = 1) -> Soak:
    """Run it in the empty folder `room`; after so many hours no more nights are asked for."""
    seen, began = Soak(), time.monotonic()
    (room / "server").mkdir()
    with (
        prefect_server(room / "server") as server,
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
    ):
        bootstrap(client, Bootstrap())
        _unscheduled(client)
        with closing(Site(room, server, client, seed)) as site:
            for number in range(1, nights + 1):
                seen.nights.append(_night(site, seen, number))
                last = number == nights or time.monotonic() - began > 3600 * hours
                if number % EVERY == 0 or last:
                    _tidy(site, seen, number)
                if last:
                    break
            seen.faults += reconcile(site, seen)
            seen.doctor = [f"{one.name}: {one.seen}" for one in examine(site.params) if not one.ok]
    seen.hours = (time.monotonic() - began) / 3600
    return seen


def _unscheduled(client: SyncPrefectClient) -> None:
    """Nights come when they are asked for, and not at two."""
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def _night(site: Site, seen: Soak, number: int) -> Night:
    night = Night(number)
    (site.tasks / "nightly.toml").write_text(TASK.format(queries=QUERIES, seed=number), encoding="utf-8")
    while not night.completed and len(night.runs) < MOST_RUNS:
        run = site.ask("retrain/nightly", {**SMALL, "home": str(site.home)})
        night.runs.append(run.id)
        kind = site.chance.choice(KINDS) if site.chance.random() < DISTURBED else ""
        began = time.monotonic()
        done = _awaited(site, seen, run, kind)
        state, passed = _state(site.client, run), time.monotonic() - began
        night.completed = state.is_completed()
        if done:
            night.disturbed.append(kind)
        elif night.completed:
            site.typical.append(passed)
        else:
            night.faults.append(f"night {number}: undisturbed, {state.name}: {state.message}"[:600])
        print(
            f"night {number}: {kind if done else 'undisturbed'}, {state.name} in {passed:.0f} s", flush=True
        )
    return night


def _awaited(site: Site, seen: Soak, run: FlowRun, kind: str) -> bool:
    """Until the run has ended; whether it was disturbed on the way."""
    after = site.chance.uniform(0, 1.1 * median(site.typical))
    began, looked, done = time.monotonic(), 0.0, False
    while not _state(site.client, run).is_final():
        passed = time.monotonic() - began
        if passed > LIMIT_SECONDS:
            site.client.set_flow_run_state(run.id, Cancelling(message="the soak has waited in vain"))
            return False
        done = done or bool(kind and passed > after and site.disturb(kind, run))
        seen.found["worker started again"] += site.supervise()
        if time.monotonic() - looked > LOOK_SECONDS:
            seen.found.update(one.kind for one in watch(site.client, site.look))
            looked = time.monotonic()
        time.sleep(0.5)
    return done


def _state(client: SyncPrefectClient, run: FlowRun) -> State:
    found = client.read_flow_run(run.id).state
    assert found is not None
    return found


def _tidy(site: Site, seen: Soak, number: int) -> None:
    """A collection on the worker, and a new champion by hand: no policy of six steps is one by the rule."""
    if newest := _versions(site):
        registry.promote(
            site.home, site.params.register_, str(max(newest)), anyway=True, smoke=lambda chosen: None
        )
    run = site.ask("maintain/weekly", {**RETENTION, "home": str(site.home)})
    began = time.monotonic()
    while not (state := _state(site.client, run)).is_final() and time.monotonic() - began < LIMIT_SECONDS:
        time.sleep(1)
    if not state.is_completed():
        seen.faults.append(f"the collection after night {number}: {state.name}: {state.message}")
    kept = registry.pinned(site.home, site.params.register_, int(RETENTION["versions"]))
    seen.disks.append(Disk(number, len(kept), disk(site.home)))


def _versions(site: Site) -> list[int]:
    if not (site.home / "mlflow.db").exists():
        return []
    client = MlflowClient(f"sqlite:///{site.home / 'mlflow.db'}")
    name = site.params.register_.name
    return [int(one.version) for one in client.search_model_versions(f"name = '{name}'", 10_000)]


def disk(home: Path) -> dict[str, int]:
    """Bytes by folder (or file) of the data folder; `files` is their number."""
    sizes: Counter[str] = Counter()
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                sizes[path.relative_to(home).parts[0]] += path.stat().st_size
                sizes["files"] += 1
    return dict(sizes)


def reconcile(site: Site, seen: Soak) -> list[str]:
    """What does not agree: server, lake, registry, disk, processes."""
    watch(site.client, site.look)
    faults = [fault for night in seen.nights for fault in night.faults]
    faults += [f"night {night.number} never completed" for night in seen.nights if not night.completed]
    for run in site.client.read_flow_runs(limit=200):
        if run.state_type in (*HOLDING, StateType.SCHEDULED):
            faults.append(f"run {run.name} is {run.state_name}")
    for deployment in site.client.read_deployments():
        limit = deployment.global_concurrency_limit
        if limit is not None and limit.active_slots:
            faults.append(f"{limit.active_slots} slots of {deployment.name} are taken")
    left = [path for path in (site.server.folder / "concurrency_leases").glob("*-*.json")]
    if left:
        faults.append(f"{len(left)} leases are left")
    with open_lake(site.home) as lake:
        faults += disagreeing(lake, seen)
        faults += _registry(site, lake, seen)
        faults += _champion(site, lake)
    faults += _disks(seen)
    faults += [f"process {one.pid} is left: {' '.join(one.cmdline()[:6])}" for one in _strays(site)]
    return faults


def disagreeing(lake: Lake, seen: Soak) -> Iterator[str]:
    runs = lake.rows(
        "select stage, batch_id, flow_run, rows_written, forgotten_at is not null as forgotten"
        " from stage_runs"
    )
    for night in seen.nights:
        own = runs.filter(runs["flow_run"].is_in([str(run) for run in night.runs]))
        stages = sorted(own["stage"], key=STAGES.index)
        if night.completed and stages != list(STAGES):
            yield f"night {night.number} has the stages {', '.join(stages)}"
        seen.resumed += own["flow_run"].n_unique() > 1
    rollouts = {"episodes", "steps"}  # of trainings, by a collection
    for stage, key, _, written, forgotten in runs.iter_rows():
        for name, count in json.loads(written).items():
            if stage == "train" and name in rollouts:
                continue
            wanted = 0 if forgotten and name in ROWS[stage] else count
            there = lake.rows(f"select count(*) from {name} where batch_id = $key", {"key": key}).item()
            if there != wanted:
                gone = ", which were taken away" if wanted != count else ""
                yield f"{stage} {key} has {there} rows in {name}, and wrote {count}{gone}"
    for name in lake.named("lake/tables").filter("batched")["name"]:
        strange = lake.rows(
            f"select count(distinct batch_id) from {name}"
            " where batch_id not in (select batch_id from stage_runs)"
        ).item()
        if strange and name != "contract_checks":
            yield f"{name} has rows of {strange} batches that no stage wrote"
    for name in lake.named("retention/staging")["name"]:
        yield f"staging table {name} is left"
    for path in maintenance.orphans(lake, 0, dry_run=True):
        yield f"{path} is no snapshot's"


def _registry(site: Site, lake: Lake, seen: Soak) -> Iterator[str]:
    asked, there = sum(night.completed for night in seen.nights), _versions(site)
    rows = lake.rows("select version, train_key from model_versions")
    if sorted(there) != sorted(map(int, rows["version"])) or len(there) != asked:
        yield (
            f"{asked} retrainings completed, {len(there)} versions in the registry, {rows.height} rows in"
            " model_versions"
        )
    kept = registry.pinned(site.home, site.params.register_, int(RETENTION["versions"]))
    for key in kept:
        if not (site.home / "models" / key / "rl" / "ranker.json").is_file():
            yield f"the model of {key} is gone ({kept[key]})"
    extra = {path.name for path in (site.home / "models").iterdir()} - set(kept)
    if extra:
        yield f"{len(extra)} models that nothing keeps: {', '.join(sorted(extra))}"


def _champion(site: Site, lake: Lake) -> Iterator[str]:
    found = registry.champion(site.home, site.params.register_)
    if found is None:
        yield "there is no champion"
        return
    given = report.test_sets(lake, "nightly", 1)[0]
    asked = {
        "task": given.task,
        "query": given.query,
        "candidates": [{"id": one.item_id, "text": one.text} for one in given.candidates],
    }
    try:
        rank(asked, site.home / found.model, how=found.strategy, thinking=found.thinking)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the soak is to find
        yield f"champion version {found.version} does not answer: {error}"


def _disks(seen: Soak) -> Iterator[str]:
    each = [one.total / max(1, one.kept) for one in seen.disks]
    if len(each) > 1 and each[-1] > BOUND_GROWTH * each[0]:
        yield f"the disk grew from {each[0] / 2**20:.1f} to {each[-1] / 2**20:.1f} MiB a kept model"


def _strays(site: Site) -> Iterator[psutil.Process]:
    """What workers had started and is there yet: everything of theirs inherits the variable that names the
    folder of tasks.
    """
    known = {os.getpid(), *(one.pid for one in (*_tree(site.worker), *site.server.processes()))}
    for one in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if one.pid not in known and one.environ().get(TASKS) == str(site.tasks):
                yield one


def rows(seen: Soak) -> list[Row]:
    """Lines of the table."""
    killed = Counter(kind for night in seen.nights for kind in night.disturbed)
    completed = sum(night.completed for night in seen.nights)
    kinds = ", ".join(f"{kind} {killed[kind]}" for kind in KINDS)
    return [
        Row(
            "retrainings asked, completed",
            f"{len(seen.nights)}, {completed}",
            "all",
            completed == len(seen.nights),
        ),
        Row("runs of them, killed by kind", f"{sum(len(night.runs) for night in seen.nights)}; {kinds}"),
        Row("retrainings that went on from what a killed run had left", str(seen.resumed)),
        Row(
            "found by the watch",
            ", ".join(f"{kind} {count}" for kind, count in seen.found.items()) or "nothing",
        ),
        Row("hours", f"{seen.hours:.1f}"),
        Row(
            "disk after a collection",
            "; ".join(map(str, seen.disks)),
            f"at most {BOUND_GROWTH} times the first, a kept model",
        ),
        Row(
            "what does not agree at the end", "; ".join(seen.faults) or "nothing", "nothing", not seen.faults
        ),
        Row("what the doctor finds", "; ".join(seen.doctor) or "nothing"),
    ]


if __name__ == "__main__":
    print(table(rows(soak(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))
