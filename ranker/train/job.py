"""Train: export a job, run the trainer in a process of its own, watch it, bring its rows home. Imports no
torch.

The job folder (`jobs/<key>`) holds all that the trainer reads (job.json, Parquet files) and all that it
writes besides weights (heartbeat.json, trainer.log, checkpoints, rollouts, metrics); the weights go to
`models/<key>/{untrained,sft,rl}`, each complete once its ranker.json stands. A killed run leaves the folder
as it is and the next run of the same key resumes from the last complete checkpoint.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from ranker.config import GRPOParams, TrainParams
from ranker.engines import manifest
from ranker.errors import BadConfig, BadModel, RankerError, TrainingFailed, by_disk
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets, to_frame
from ranker.policy import rewards
from ranker.policy.prompts import Mode, Prompt
from ranker.progress import Progress
from ranker.refs import Champion, Check, Ref
from ranker.stages import identity
from ranker.stages.run import key_of, run_cached
from ranker.strategies.episodes import EPISODES, STEPS
from ranker.train import parallel, reuse
from ranker.train.curves import Follow, Following
from ranker.types import CandidateSet, Fields, JsonObject

PHASES = ("untrained", "sft", "rl")
ASKED = ("task", "set_id", "mode", "thinking", "pool")
"""Columns that say what a row asks."""
ROOTS = (__name__, "ranker.train.worker.__main__")
"""Modules whose code, with all that it reaches, decides a training."""
NO_ROOM = 64 * 1024
"""Bytes with which nothing can be written."""
GRACE_SECONDS = 10
POLL_SECONDS = 0.5
Log = Callable[[str], None]
Launcher = Callable[[Path, TrainParams, Log], None]
"""Runs the trainer of a job's folder to its end."""


def run(
    lake: Lake,
    params: TrainParams,
    *,
    sets: Ref,
    traces: Ref,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    log: Log = lambda text: None,
    launcher: Launcher | None = None,
    champion: Champion | None = None,
    follow: Follow | None = None,
) -> Ref:
    """Train a policy on the accepted traces (SFT), then on the true relevance of training queries (GRPO).

    Args:
        launcher: what runs the trainer; None is `launch`, a process of this machine.
        champion: the model that training begins with, instead of the policy's own.
        follow: gets the points of the curves while training goes on.

    Returns:
        Ref with details {"model": folder relative to home, "untrained" | "sft" | "rl": {"seconds", …},
        "parameters", "champion": which one training began with, where it did}.

    Raises:
        BadConfig: processes, batches or vLLM cannot be as the parameters say, a reward's function is not
            there, or the champion is another kind of policy; before anything is exported.
        BadModel: the champion's folder is gone.
        TrainingFailed: the trainer exited with an error or fell silent; the end of its log is in `seen`.
        DiskFull, NoAccess: the disk refused what the trainer writes.
    """
    return run_cached(
        lake,
        "train",
        parameters=_identity(params, champion),
        inputs=[sets, traces],
        roots=ROOTS,
        check=check,
        force=force,
        only_finished=only_finished,
        produce=lambda key: _produce(
            lake, key, params, sets, traces, force, log, launcher or launch, champion, follow
        ),
    )


def key_from(params: TrainParams, sets: Ref, traces: Ref, champion: Champion | None) -> str:
    """What `run` knows a training by: another champion to begin with makes another training."""
    return key_of("train", _identity(params, champion), [sets, traces], ROOTS)


def _identity(params: TrainParams, champion: Champion | None) -> object:
    if champion is None:
        return params
    return {**params.model_dump(mode="json"), "champion": champion.model}


def _produce(
    lake: Lake,
    key: str,
    params: TrainParams,
    sets: Ref,
    traces: Ref,
    force: bool,
    log: Log,
    launcher: Launcher,
    champion: Champion | None,
    follow: Follow | None,
) -> tuple[Fields, JsonObject]:
    parallel.check(params)
    for path in params.grpo.rewards:
        rewards.named(path)
    if champion is not None:
        _require_beginning(lake.home, params, sets.details["tasks"], champion)
        log(f"training goes on from champion version {champion.version}, {champion.model}")
    folder = lake.home / "jobs" / key
    if force:
        _start_over(folder, lake.home / "models" / key)
    folder.mkdir(parents=True, exist_ok=True)
    export(lake, folder, key, params, sets, traces, champion.model if champion else "")
    if not force:
        reuse.adopt(lake.home, key, json.loads((folder / "job.json").read_text())["phase_keys"], log)
    following = Following(lake, folder, log, follow)
    try:
        launcher(folder, params, following.log)
    finally:
        following.look()
    tables, details = collect(lake.home, folder, key)
    return tables, details | ({"champion": asdict(champion)} if champion else {})


def _require_beginning(home: Path, params: TrainParams, tasks: Iterable[str], champion: Champion) -> None:
    """Raises BadModel or BadConfig where this training cannot go on from the champion."""
    folder, way_out = home / champion.model, 'set train.policy.init_from to "base"'
    named = f"champion version {champion.version}, {folder}"
    if not (folder / "config.json").is_file():
        raise BadModel(
            "the champion's folder must be there: training goes on from it",
            seen=f"{named} holds no config.json",
            remedy=f"put the folder back, `ranker rollback` to the version before, or {way_out}",
        )
    own = manifest(folder)
    if own.get("style", params.policy.style) != params.policy.style:
        raise BadConfig(
            f"training goes on from a policy that answers as train.policy.style says, {params.policy.style}",
            seen=f"{named}: {own['style']}",
            remedy=f"train in the champion's style, or {way_out}",
        )
    strange = sorted(set(tasks) - set(own.get("tasks", tasks)))
    if strange and params.policy.style == "compact":
        raise BadConfig(
            "a policy from scratch has words for the tasks that it was made for, and no others",
            seen=f"{named} has none for {', '.join(strange)}",
            remedy=f"{way_out} once",
        )


def _start_over(*folders: Path) -> None:
    """A forced repeat must not resume: the old folders step aside under a name that nothing reads."""
    for folder in folders:
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}.replaced-{time.time_ns()}"))


# --- export: everything the trainer reads ---


def export(
    lake: Lake, folder: Path, key: str, params: TrainParams, sets: Ref, traces: Ref, start: str = ""
) -> None:
    """Write what each phase reads (valid.parquet, sft.parquet, rl.parquet, …) and, last, job.json.

    Args:
        start: folder of the model that training begins with, relative to home; empty is the policy's own.
    """
    train = load_sets(lake, sets.key, split="train")
    valid = load_sets(lake, sets.key, split="valid", limit=params.eval_queries or 1)
    to_frame(valid).write_parquet(folder / "valid.parquet")
    style = params.policy.style
    if style == "likelihood":
        _orders(lake, folder, params, sets, traces, train)
        keys = reuse.phase_keys(params, sets.key, traces.key, _code(), start)
        return _describe(folder, key, params, train, keys, start)
    accepted = lake.named("train/traces", {"batch_id": traces.key}).select(*ASKED, "completion")
    if params.sft.max_steps and accepted.is_empty():
        raise BadConfig(
            "SFT learns from accepted traces",
            seen="none",
            remedy="see the reasons in `traces`, raise distill.traces, or set train.sft.max_steps to 0",
        )
    taught = lake.named("evaluate/teacher", {"batch_id": traces.key})
    prompts = rl_prompts(train, taught, params.grpo)
    write(folder, train, accepted, prompts)
    _describe(folder, key, params, train, {}, start)


def write(folder: Path, train: Sequence[CandidateSet], traces: pl.DataFrame, prompts: pl.DataFrame) -> None:
    """The rows of a generator's training, and the sets that they ask about. What the model is shown of them
    is made by the trainer, which has its tokenizer: fitted and rendered as for evaluation.
    """
    traces.write_parquet(folder / "sft.parquet")
    prompts.write_parquet(folder / "rl.parquet")
    asked = {*traces["set_id"], *prompts["set_id"]}
    to_frame([given for given in train if given.set_id in asked]).write_parquet(folder / "sets.parquet")


def _orders(
    lake: Lake, folder: Path, params: TrainParams, sets: Ref, traces: Ref, train: Sequence[CandidateSet]
) -> None:
    """What a likelihood policy is trained on: pools, and the teacher's orders of them."""
    accepted = lake.named("train/traces", {"batch_id": traces.key})
    orders = accepted.filter(pl.col("mode") == "rank").select("set_id", "pool", "action")
    if params.sft.max_steps and orders.is_empty():
        raise BadConfig(
            "SFT of a likelihood policy needs the teacher's whole orders",
            seen="no accepted trace of one",
            remedy="set distill.rank_share above 0 (1 for orders alone), or train.sft.max_steps to 0",
        )
    orders.write_parquet(folder / "orders.parquet")
    to_frame(train).write_parquet(folder / "sets.parquet")


def _code() -> str:
    """What decides a training besides its parameters and inputs."""
    return identity.code(*ROOTS).digest


def _describe(
    folder: Path,
    key: str,
    params: TrainParams,
    train: Sequence[CandidateSet],
    phase_keys: Mapping[str, str],
    start: str,
) -> None:
    """Written last: a folder without it is not whole."""
    tasks = sorted({given.task for given in train})
    job = {
        "key": key,
        "params": params.model_dump(mode="json"),
        "tasks": tasks,
        "phase_keys": dict(phase_keys),
        "start": start,
    }
    temporary = folder / "job.json.part"
    temporary.write_text(json.dumps(job, indent=1), encoding="utf-8")
    temporary.replace(folder / "job.json")


def rl_prompts(train: Sequence[CandidateSet], taught: pl.DataFrame, params: GRPOParams) -> pl.DataFrame:
    """What GRPO asks: `params.prompts` questions a task, each about a sub-pool (labels and order kept) that
    holds a best candidate and a worse one.

    Sub-pools of every size, because a survivor's pool in elimination may have any: a share `params.survivors`
    of them as elimination by the teacher would leave them (a best candidate among the strongest others, which
    is where rankings are decided), the rest at random. Whole pools for DRanker.

    Args:
        taught: the teacher's scores (set_id, label, score).
    """
    rng = np.random.default_rng(params.seed)
    strength: dict[str, dict[str, float]] = {}
    for row in taught.iter_rows(named=True):
        strength.setdefault(row["set_id"], {})[row["label"]] = row["score"]
    rows: list[JsonObject] = []
    for name in sorted({given.task for given in train}):
        own = [given for given in train if given.task == name]
        picks = rng.permutation(np.resize(np.arange(len(own)), min(params.prompts, 4 * len(own))))
        for pick in picks:
            given = own[pick]
            mode: Mode = "rank" if rng.random() < params.rank_share else "exclude"
            thinking = bool(rng.random() >= params.without_reasoning)
            known = strength.get(given.set_id) if rng.random() < params.survivors else None
            shown = given if mode == "rank" else given.keep(_sub_pool(given, known, params.pool_decay, rng))
            rows.append(_rl_row(Prompt(mode, thinking, shown)))
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=params.seed)


def _sub_pool(
    given: CandidateSet, strength: Mapping[str, float] | None, decay: float, rng: np.random.Generator
) -> tuple[str, ...]:
    best = max(c.relevance for c in given.candidates)
    top = [c.label for c in given.candidates if c.relevance == best]
    rest = [c.label for c in given.candidates if c.relevance < best]
    if not rest:
        return given.labels
    keep = top[int(rng.integers(len(top)))]
    others = [label for label in given.labels if label != keep]
    size = _size(len(others), decay, rng)
    others = rng.permutation(others).tolist()  # so that equal strengths fall to chance
    if strength is not None:
        others.sort(key=lambda label: -strength[label])
    chosen = {*others[:size], keep}
    if chosen <= set(top):
        chosen.add(rest[int(rng.integers(len(rest)))])
    return tuple(label for label in given.labels if label in chosen)


def _size(most: int, decay: float, rng: np.random.Generator) -> int:
    """How many others, 1 to `most`: k + 1 of them `decay` times as probable as k."""
    if decay == 1.0:
        return int(rng.integers(1, most + 1))
    weight = decay ** np.arange(most)
    return 1 + int(rng.choice(most, p=weight / weight.sum()))


def _rl_row(prompt: Prompt) -> JsonObject:
    given = prompt.set
    return {
        "task": given.task,
        "set_id": given.set_id,
        "mode": prompt.mode,
        "thinking": prompt.thinking,
        "pool": list(given.labels),
        "relevance": [c.relevance for c in given.candidates],
    }


# --- the process ---


def command(folder: Path, params: TrainParams, machine: int = 0) -> list[str]:
    """What starts the trainer: itself where it is one process, else accelerate's launcher with the
    configuration; `machine` counts from 0.
    """
    worker = ["-m", "ranker.train.worker", str(folder / "job.json")]
    found = parallel.read(params)
    if not found.file:  # the launcher would import torch as well, to start one process and wait for it
        return [sys.executable, *worker]
    threads = params.threads or max(
        1, (os.cpu_count() or 1) * found.machines // found.processes
    )  # unsaid, accelerate gives a process one thread
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    launcher += ["--num_cpu_threads_per_process", str(threads), "--config_file", str(found.file)]
    # The trainer's processes decide (scale.in_bf16): they see the processor. Unsaid, the file's would count.
    launcher += ["--mixed_precision", "no"]
    if found.machines > 1:
        host, _, port = params.main_address.rpartition(":")
        launcher += ["--main_process_ip", host, "--main_process_port", port, "--machine_rank", str(machine)]
    return [*launcher, *worker]


def launch(folder: Path, params: TrainParams, log: Log) -> None:
    """Run the trainer to its end. Whatever ends this function ends the trainer's whole process group too."""
    heartbeat = folder / "heartbeat.json"
    heartbeat.unlink(missing_ok=True)
    for machine in range(1, parallel.read(params).machines):
        log(
            f"on machine {machine} run, in a checkout of this project:"
            f" {shlex.join(command(folder, params, machine))}"
        )
    me = psutil.Process()
    # The trainer leaves by itself once this process is gone: SIGKILL reaches no grandchild.
    environment = os.environ | {
        "RANKER_OWNER": f"{me.pid}:{me.create_time()}",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
        "ACCELERATE_MIXED_PRECISION": "no",  # a user's own would count where the trainer computes in float32
    }
    if params.threads:
        environment["OMP_NUM_THREADS"] = str(params.threads)
    if params.use_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    if "mlflow" not in params.report_to:
        # trl would import it and report nothing: a tenth of the start
        environment["DISABLE_MLFLOW_INTEGRATION"] = "TRUE"
    with (folder / "trainer.log").open("ab") as output:
        earlier = output.tell()
        trainer = subprocess.Popen(
            command(folder, params),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            code = _watch(trainer, heartbeat, params.heartbeat_seconds, log)
        finally:
            _end_group(trainer)
    if code != 0:
        raise _failed(folder / "trainer.log", earlier, code)


def _failed(path: Path, earlier: int, code: int) -> RankerError:
    """What ended the trainer, by what it has logged from byte `earlier` on; a full disk may have kept it from
    that.
    """
    lines = _tail(path, earlier)
    if shutil.disk_usage(path.parent).free < NO_ROOM:
        lines.append(f"{path.parent}: {os.strerror(errno.ENOSPC)}")
    refused = (by_disk(RuntimeError(line)) for line in reversed(lines))
    return next(filter(None, refused), None) or TrainingFailed(
        "the trainer must end with exit code 0",
        seen="\n".join([f"exit code {code}; end of {path}:", *lines]),
        remedy="mend what the log names and run again: it resumes from the last complete checkpoint",
    )


def _watch(trainer: subprocess.Popen[bytes], heartbeat: Path, patience: int, log: Log) -> int:
    changed = time.monotonic()  # a clock that is set must not make a trainer look dead
    seen = None
    with Progress("training", log=log) as progress:
        while (code := trainer.poll()) is None:
            time.sleep(POLL_SECONDS)
            beat = last_beat(heartbeat)
            if beat != seen:
                seen, changed = beat, time.monotonic()
            progress.note = beat["text"] if beat else ""
            silent = time.monotonic() - changed
            if silent > patience:
                raise TrainingFailed(
                    "the trainer must give a sign of life",
                    seen=f"none for {silent:.0f} s; last: {progress.note or 'nothing'}",
                    remedy=(
                        "look at trainer.log in the job folder; raise train.heartbeat_seconds if steps really"
                        " take that long"
                    ),
                )
    return code


def last_beat(heartbeat: Path) -> JsonObject | None:
    """What a trainer said last (at, text, pid); None where it has said nothing, or is about to."""
    try:
        return json.loads(heartbeat.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _end_group(trainer: subprocess.Popen[bytes]) -> None:
    """The trainer's group, and the processes of a torchrun, each of which has a session of its own."""
    # The group by os.killpg and not psutil: children of a launcher that has died are no longer its children.
    offspring: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        offspring = psutil.Process(trainer.pid).children(recursive=True)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(trainer.pid, sign)
        except ProcessLookupError:
            break
        try:
            trainer.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    trainer.wait()
    for process in offspring:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _tail(path: Path, earlier: int, lines: int = 70) -> list[str]:
    """The end of a log. The launcher's own report is forty lines long and says no more than which process
    ended first, and by which signal.
    """
    return path.read_bytes()[earlier:].decode("utf-8", "replace").splitlines()[-lines:]


# --- collect: everything the trainer wrote ---


def collect(home: Path, folder: Path, key: str) -> tuple[Fields, JsonObject]:
    """Tables (training_metrics, and the rollouts as episodes and steps) and details of a finished job."""
    model = home / "models" / key
    manifests = {
        phase: json.loads((model / phase / "ranker.json").read_text(encoding="utf-8")) for phase in PHASES
    }
    metrics = pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("metrics-*.parquet"))])
    rollouts = folder / "rollouts"
    episodes = sorted(rollouts.glob("episodes-*.parquet")) or pl.DataFrame(schema=EPISODES)
    steps = sorted(rollouts.glob("steps-*.parquet")) or pl.DataFrame(schema=STEPS)
    details = {
        "model": str(model.relative_to(home)),
        "parameters": manifests["rl"]["parameters"],
        **{phase: manifests[phase]["facts"] for phase in PHASES},
        **_fitted(manifests),
    }
    return {"training_metrics": metrics, "episodes": episodes, "steps": steps}, details


def _fitted(manifests: Mapping[str, JsonObject]) -> JsonObject:
    """A likelihood policy's temperatures and calibrations, by phase and task."""
    found = {phase: own["likelihood"] for phase, own in manifests.items() if "likelihood" in own}
    return {"likelihood": found} if found else {}
