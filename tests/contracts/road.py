"""Every stage really run on small data of every reader's shape, judged for real; only the model that answers is scripted."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import judge
from ranker import candidates, distill, evaluate, ingest, registry
from ranker.config import CandidateParams, DistillParams, EvaluateParams, IngestParams, PolicyParams, RegisterParams
from ranker.engines.scripted import ScriptedEngine
from ranker.lake import Lake
from ranker.parsing import parse
from ranker.prompts import Ask
from ranker.refs import Ref
from ranker.rewards import reward
from ranker.sets import CandidateSet, load_sets
from ranker.train.worker.recorder import Recorder, Rollout
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import recbole, taste

TASKS = ("synthetic", "passage-pydoc", "router-performance", "movietweetings", "rec-movie")
MODULES = ("argparse", "calendar", "configparser", "difflib", "ftplib", "imaplib", "optparse", "pathlib", "random", "statistics", "tarfile", "threading", "zipfile")
"""Of the standard library: what the passages are read from."""
WORDS = tuple(f"{a}{b}" for a in ["kelu", "mira", "tovo", "sani", "pewa", "runi", "dafo", "wixa"] for b in ["bor", "den", "fin", "gal", "hut", "jem", "lop", "mek"])


def sources(folder: Path) -> dict[str, str]:
    """Files as each reader wants them."""
    places = {task: folder / task for task in TASKS if task != "synthetic"}
    recbole(places["rec-movie"], taste())
    for task in ("passage-pydoc", "router-performance", "movietweetings"):
        places[task].mkdir()
    for module in MODULES:
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py", places["passage-pydoc"])
    _tweets(places["movietweetings"])
    _router(places["router-performance"])
    return {task: str(place) for task, place in places.items()}


def _tweets(folder: Path) -> None:
    rows = [f"{u}::{100 + i}::{rating}::{1_400_000_000 + 3_600 * (when - 1_000_000)}" for u, i, rating, when in taste(users=30, items=50)]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n", encoding="utf-8")
    movies = [f"{100 + i}::Movie {i} (19{50 + i % 50})::Drama|Crime" for i in range(50)]
    (folder / "movies.dat").write_text("\n".join(movies) + "\n", encoding="utf-8")


def _router(folder: Path) -> None:
    draw = random.Random(5)
    names = ["tiny", "small", "large", "huge"]
    asked = [{"question": " ".join(draw.sample(WORDS, 10)) + "?", "scores": {name: draw.choice([0, 0.5, 1]) for name in names}} for _ in range(160)]
    asked = [row for row in asked if len(set(row["scores"].values())) > 1]
    (folder / "train.json").write_text(json.dumps(asked), encoding="utf-8")
    facts = {name: {"size": f"{n}B", "feature": f"The {name} one", "input_price": n, "output_price": n} for n, name in enumerate(names, 1)}
    (folder / "default_llm.json").write_text(json.dumps(facts), encoding="utf-8")


def whole(lake: Lake, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Ref]:
    """All six stages, each batch judged by its contract."""
    patch.setattr(evaluate, "load", lambda *_, **__: ScriptedEngine(sometimes_wrong))
    source = ingest.run(lake, IngestParams(tasks=TASKS, locations=sources(folder)), check=judge)
    pools = CandidateParams(history=4, pool_size={"router-performance": 4})
    sets = candidates.run(lake, pools, source=source, check=judge)
    traces = distill.run(lake, DistillParams(traces=300), sets=sets, policy=PolicyParams(), check=judge)
    trained = train(lake, sets, traces)
    params = EvaluateParams(models=("sft", "rl"), max_queries=12, bootstrap=100)
    scores = evaluate.run(lake, params, sets=sets, traces=traces, trained=trained, champion=None, check=judge)
    version = registry.run(lake, RegisterParams(), trained=trained, scores=scores, check=judge)
    return {ref.stage: ref for ref in (source, sets, traces, trained, scores, version)}


def sometimes_wrong(ask: Ask) -> str:
    """Right, wrong or unreadable, decided by the pool."""
    turn = hashlib.sha256("|".join((ask.set.set_id, *ask.set.labels)).encode()).digest()[0] % 8
    return "no idea" if turn == 0 else adversary(ask) if turn < 3 else oracle(ask)


def train(lake: Lake, sets: Ref, traces: Ref) -> Ref:
    """What a training leaves: metrics, and rollouts by the trainer's own recorder."""
    from ranker.episodes import Origin

    recorder = Recorder(lake.home / "rollouts", Origin("train", "k/rl", "rl", 1))
    recorder.start(0)
    for step, given in enumerate(load_sets(lake, sets.key, split="train", limit=4), start=1):
        recorder.pending += [_rollout(Ask(mode, True, given)) for mode in ("exclude", "rank")]
        recorder.settle(step, [9, 9], [5, 5], [0.0, 0.0], 2.0)
    recorder.flush(1)
    names = [("sft", "loss", 2.0), ("sft", "loss", 1.5), ("rl", "reward", 0.1), ("rl", "reward", 0.2)]
    metrics = pl.DataFrame([{"phase": phase, "step": n, "name": name, "value": value} for n, (phase, name, value) in enumerate(names)])
    folder = lake.home / "models" / "trained"
    folder.mkdir(parents=True)
    parts: dict[str, Sequence[Path]] = {table: sorted((lake.home / "rollouts").glob(f"{table}-*.parquet")) for table in ("episodes", "steps")}
    return lake.write(
        "train", "trained", {"training_metrics": metrics, **parts}, inputs=[sets.key, traces.key], parameters="{}", code="c",
        read_snapshot=lake.snapshot(), details={"model": str(folder.relative_to(lake.home))}, check=judge,
    )  # fmt: skip


def _rollout(ask: Ask) -> Rollout:
    given: CandidateSet = ask.set
    text = sometimes_wrong(ask)
    action = parse(text, given.labels, ask.mode, ask.thinking)
    row = {"set_id": given.set_id, "task": given.task, "mode": ask.mode, "thinking": ask.thinking, "pool": list(given.labels)}
    return Rollout(row, "?", text, action, reward(action, given.relevance, ask.mode))
