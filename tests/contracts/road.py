"""Every stage really run on small data of every reader's shape, judged for real; only the model that
answers is scripted.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import TASKS as TASKS_VARIABLE
from ranker.config import (
    CandidateParams,
    DistillParams,
    EvaluateParams,
    IngestParams,
    PolicyParams,
    RegisterParams,
)
from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.counterfactual import Policy
from ranker.metrics.significance import Interval
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt
from ranker.policy.rewards import reward
from ranker.refs import Champion, Ref
from ranker.serving import collect, feedback
from ranker.serving.explore import Exploration, order
from ranker.serving.request_log import RequestLog, record, shadow_record
from ranker.stages import candidates, distill, evaluate, ingest, register, traffic
from ranker.strategies import strategy
from ranker.studies import injection, sealed
from ranker.train.worker.recorder import Recorder, Rollout
from ranker.types import CandidateSet
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import recbole, taste

OWN = {
    "games": 'scenario = "recommendation"\nreader = "llmrank"\npool_size = 8',
    "routes": (
        'scenario = "routing"\nreader = "graphrouter"\npool_size = 4\noptions = {'
        " effect_weight = 0.5, grades = 100 }"
    ),
    "towers": 'scenario = "passage"\nreader = "beir"\npool_size = 4\nmax_words = 24',
}
"""Tasks of our own, for readers that no shipped task names: name → the rest of its file."""
TASKS = (
    "synthetic",
    "passage-pydoc",
    "passage-5",
    "vaswani",
    "towers",
    "router-performance",
    "routes",
    "movietweetings",
    "lastfm",
    "games",
    "rec-movie",
)
"""One of every reader."""
MODULES = (
    "argparse",
    "calendar",
    "configparser",
    "difflib",
    "ftplib",
    "imaplib",
    "optparse",
    "pathlib",
    "random",
    "statistics",
    "tarfile",
    "threading",
    "zipfile",
)
"""Of the standard library: what the passages are read from."""
WORDS = tuple(
    f"{a}{b}"
    for a in ["kelu", "mira", "tovo", "sani", "pewa", "runi", "dafo", "wixa"]
    for b in ["bor", "den", "fin", "gal", "hut", "jem", "lop", "mek"]
)


def sources(folder: Path) -> dict[str, str]:
    """Files as each reader wants them."""
    places = {task: folder / task for task in TASKS if task != "synthetic"}
    for place in places.values():
        place.mkdir()
    recbole(places["rec-movie"], taste())
    for module in MODULES:
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py", places["passage-pydoc"])
    _tweets(places["movietweetings"])
    _lastfm(places["lastfm"])
    _llmrank(places["games"])
    _router(places["router-performance"])
    _graphrouter(places["routes"])
    _msmarco(places["passage-5"])
    _trec(places["vaswani"])
    _beir(places["towers"])
    return {task: str(place) for task, place in places.items()}


def own_tasks(folder: Path) -> Path:
    """A folder for $RANKER_TASKS with the tasks of `OWN`."""
    folder.mkdir()
    for name, rest in OWN.items():
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\nwording = "Rank."\n{rest}\n', encoding="utf-8"
        )
    return folder


def _tweets(folder: Path) -> None:
    rows = [
        f"{u}::{100 + i}::{rating}::{1_400_000_000 + 3_600 * (when - 1_000_000)}"
        for u, i, rating, when in taste(users=30, items=50)
    ]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n", encoding="utf-8")
    movies = [f"{100 + i}::Movie {i} (19{50 + i % 50})::Drama|Crime" for i in range(50)]
    (folder / "movies.dat").write_text("\n".join(movies) + "\n", encoding="utf-8")


def _router(folder: Path) -> None:
    draw = random.Random(5)
    names = ["tiny", "small", "large", "huge"]
    asked = [
        {
            "question": " ".join(draw.sample(WORDS, 10)) + "?",
            "scores": {name: draw.choice([0, 0.5, 1]) for name in names},
        }
        for _ in range(160)
    ]
    asked = [row for row in asked if len(set(row["scores"].values())) > 1]
    (folder / "train.json").write_text(json.dumps(asked), encoding="utf-8")
    facts = {
        name: {"size": f"{n}B", "feature": f"The {name} one", "input_price": n, "output_price": n}
        for n, name in enumerate(names, 1)
    }
    (folder / "default_llm.json").write_text(json.dumps(facts), encoding="utf-8")


def _lastfm(folder: Path) -> None:
    """All are tagged; every ninth was never played."""
    met = taste(users=30, items=50)
    lines = {
        "artists.dat": ["id\tname\turl\tpictureURL", *(f"{i}\tThe {WORDS[i]}s\t\t" for i in range(50))],
        "user_artists.dat": [
            "userID\tartistID\tweight",
            *(f"{u}\t{i}\t{10 * rating}" for n, (u, i, rating, _) in enumerate(met) if n % 9),
        ],
        "user_taggedartists-timestamps.dat": [
            "userID\tartistID\ttagID\ttimestamp",
            *(f"{u}\t{i}\t1\t{1_200_000_000_000 + 1_000 * int(str(at))}" for u, i, _, at in met),
        ],
    }
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _llmrank(folder: Path) -> None:
    met = (
        pl.DataFrame(taste(users=30, items=50), schema=["user", "item", "rating", "at"], orient="row")
        .sort("at")
        .group_by("user", maintain_order=True)
        .agg("item")
    )
    sequences = [f"{user}\t{' '.join(map(str, items[:-1]))}\t{items[-1]}" for user, items in met.iter_rows()]
    (folder / "Games.test.inter").write_text(
        "\n".join(["user_id:token\titem_id_list:token_seq\titem_id:token", *sequences]) + "\n",
        encoding="utf-8",
    )
    (folder / "Games.item").write_text(
        "\n".join(["item_id:token\ttitle:token_seq", *(f"{i}\tGame {i}" for i in range(50))]) + "\n",
        encoding="utf-8",
    )


def _graphrouter(folder: Path) -> None:
    draw = random.Random(6)
    llms = {"tiny": 1, "small": 2, "large": 8, "huge": 20}
    lines = ["task_id,query,query_embedding,llm,effect,cost"]
    for _ in range(120):
        question = " ".join(draw.sample(WORDS, 10))
        lines += [
            f'squad,"{question}?","[0.1,'
            f' 0.2]",{llm},{draw.choice([0, 0.5, 1])},{cost * draw.uniform(0.5, 1):.4f}'
            for llm, cost in llms.items()
        ]
    (folder / "router_data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _asked(seed: int, count: int) -> list[tuple[str, str]]:
    """Questions and the texts that answer them: a text holds the words of its question among others."""
    draw = random.Random(seed)
    asked = [draw.sample(WORDS, 8) for _ in range(count)]
    return [(" ".join(words), " ".join(draw.sample([*words, *draw.sample(WORDS, 6)], 14))) for words in asked]


def _msmarco(folder: Path) -> None:
    asked, draw = _asked(7, 120), random.Random(8)
    rows = []
    for number, (question, text) in enumerate(asked):
        texts = [
            text,
            *(other for _, other in draw.sample([pair for pair in asked if pair[0] != question], 4)),
        ]
        draw.shuffle(texts)
        passages = {"is_selected": [int(one == text) for one in texts], "passage_text": texts}
        rows.append({"query": question, "query_id": number, "passages": passages})
    pl.DataFrame(rows).write_parquet(folder / "train.parquet")


def _trec(folder: Path) -> None:
    asked = _asked(9, 120)
    documents = [f"<DOC>\n<DOCNO>d{n}</DOCNO>\n{text}\n</DOC>" for n, (_, text) in enumerate(asked)]
    (folder / "doc-text.trec").write_text("\n".join(documents) + "\n", encoding="utf-8")
    topics = [
        f"<top>\n<num> Number: {n}\n<title> {question}\n</top>" for n, (question, _) in enumerate(asked)
    ]
    (folder / "query-text.trec").write_text("\n".join(topics) + "\n", encoding="utf-8")
    (folder / "qrels").write_text(
        "".join(f"{n} 0 d{n} 1\n{n} 0 d{(n + 7) % 120} 0\n" for n in range(120)), encoding="utf-8"
    )


def _beir(folder: Path) -> None:
    asked = _asked(10, 120)
    _lines(
        folder / "corpus.jsonl",
        ({"_id": f"d{n}", "title": WORDS[n % 64], "text": text} for n, (_, text) in enumerate(asked)),
    )
    _lines(
        folder / "queries.jsonl",
        ({"_id": f"q{n}", "text": question} for n, (question, _) in enumerate(asked)),
    )
    (folder / "qrels").mkdir()
    judged = "".join(f"q{n}\td{n}\t{1 + n % 2}\n" for n in range(120))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")


def _lines(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def whole(lake: Lake, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Ref]:
    """All six stages, each batch judged by its contract."""
    patch.setattr(evaluate, "load", lambda *_, **__: ScriptedEngine(sometimes_wrong))
    patch.setenv(TASKS_VARIABLE, str(own_tasks(folder / "tasks")))
    source = ingest.run(lake, IngestParams(tasks=TASKS, locations=sources(folder)), check=validate_batch)
    pools = CandidateParams(history=4, pool_size={"router-performance": 4})
    sets = candidates.run(lake, pools, source=source, check=validate_batch)
    traces = distill.run(
        lake, DistillParams(traces=300), sets=sets, policy=PolicyParams(), check=validate_batch
    )
    trained = train(lake, sets, traces)
    params = EvaluateParams(models=("sft", "rl"), max_queries=12, bootstrap=100)
    scores = evaluate.run(
        lake, params, sets=sets, traces=traces, trained=trained, champion=None, check=validate_batch
    )
    version = register.run(lake, RegisterParams(), trained=trained, scores=scores, check=validate_batch)
    others = (
        serve(lake, sets),
        fed_back(lake),
        estimate_traffic(lake),
        read_sealed(lake, scores),
        inject(lake, sets),
    )
    return {ref.stage: ref for ref in (source, sets, traces, trained, scores, version, *others)}


def inject(lake: Lake, sets: Ref) -> Ref:
    """What an audit leaves of a policy that is sometimes wrong."""
    asked, _ = injection.pools(load_sets(lake, sets.key, split="test", task="rec-movie", limit=3), 1)
    ways = [(strategy(name), thinking) for name in ("iterative", "direct") for thinking in (True, False)]
    arms = [
        injection.measured(
            str(way),
            thinking,
            asked,
            injection.ranked(asked, way, thinking, ScriptedEngine(sometimes_wrong), Sampling(64)),
            100,
            1,
        )
        for way, thinking in ways
    ]
    key = injection.store(lake, "k/rl", "rec-movie", arms, [sets.key], validate_batch)
    ref = lake.finished(injection.STAGE, key)
    assert ref is not None
    return ref


def read_sealed(lake: Lake, scores: Ref) -> Ref:
    """What a reading of sealed queries leaves."""
    interval = Interval(0.5, 0.4, 0.6, 20)
    first = sealed.Reading("rec-movie", interval, Interval(0.01, -0.02, 0.04, 20))
    models = [Champion(version, "k", "models/k/rl") for version in ("2", "1")]
    found = sealed.Read(*models, (first, replace(first, task="passage-pydoc")), 1, ())
    key = sealed.store(lake, RegisterParams(), found, [scores.key], validate_batch)
    ref = lake.finished(sealed.STAGE, key)
    assert ref is not None
    return ref


def serve(lake: Lake, sets: Ref) -> Ref:
    """What a server with a shadow leaves, of some queries whose answers nobody has judged."""
    request_log = RequestLog(collect.folder(lake.home))
    for given in load_sets(lake, sets.key, split="test", limit=2):
        asked = replace(
            given, candidates=tuple(replace(candidate, relevance=0.0) for candidate in given.candidates)
        )
        for name in ("iterative", "direct"):
            (episode,) = strategy(name)(
                [replace(asked, set_id=f"{name} {given.set_id}")],
                ScriptedEngine(sometimes_wrong),
                thinking=True,
                sampling=Sampling(64),
            )
            row = record(
                replace(asked, set_id=episode.set_id),
                episode,
                order(episode.ranking, episode.set_id, Exploration(0.5, 2)),
                at=datetime.now(UTC),
                milliseconds=1.0,
                model="k/rl",
                version="1",
            )
            request_log.add(row)
            row = shadow_record(
                replace(asked, set_id=episode.set_id), episode, milliseconds=1.0, model="l/rl", version="2"
            )
            request_log.add(row)
    request_log.close()
    ref = collect.run(lake, check=validate_batch)
    assert ref is not None
    return ref


def fed_back(lake: Lake) -> Ref:
    """What clients say of what was served: a click and a rating a request, in two batches."""
    now = datetime.now(UTC)
    for place in (1, 2):
        shown = lake.rows(
            "select set_id, item_id from served_candidates where place = $place", {"place": place}
        )
        feedback_log = RequestLog(collect.feedback_folder(lake.home))
        for set_id, item_id in shown.iter_rows():
            for event in ({"event": "click"}, {"event": "rating", "value": 4.0}):
                sent = {"request_id": set_id, "document_id": item_id, "user": "u1", **event}
                feedback_log.add(feedback.record(feedback.read(json.dumps(sent).encode(), now), now))
        feedback_log.close()
        ref = collect.feedback(lake, check=validate_batch)
    assert ref is not None
    return ref


def estimate_traffic(lake: Lake) -> Ref:
    """What an audit of logged traffic leaves."""
    draw = np.random.default_rng(1)
    ranked = np.tile(np.arange(3), (60, 1))
    asked = traffic.Logged(
        (), (), draw.permuted(ranked, axis=1), draw.random((60, 3)).round(), ranked[:, :1] + 0.5
    )
    sets = tuple(CandidateSet(str(n), "rec-movie", "serve", str(n), "", (), ()) for n in range(60))
    asked = replace(asked, sets=sets)
    found = traffic.estimated(asked, Policy(ranked, asked.shown == ranked), 100, 1)
    key = traffic.store(lake, "k/rl", "rec-movie", ("direct", True), asked, found, validate_batch)
    ref = lake.finished(traffic.STAGE, key)
    assert ref is not None
    return ref


def sometimes_wrong(prompt: Prompt) -> str:
    """Right, wrong or unreadable, decided by the pool."""
    turn = hashlib.sha256("|".join((prompt.set.set_id, *prompt.set.labels)).encode()).digest()[0] % 8
    return "no idea" if turn == 0 else adversary(prompt) if turn < 3 else oracle(prompt)


def train(lake: Lake, sets: Ref, traces: Ref) -> Ref:
    """What a training leaves: metrics, and rollouts by the trainer's own recorder."""
    from ranker.strategies.episodes import Origin

    recorder = Recorder(lake.home / "rollouts", Origin("train", "k/rl", "rl", 1))
    recorder.start(0)
    for step, given in enumerate(load_sets(lake, sets.key, split="train", limit=4), start=1):
        recorder.pending += [_rollout(Prompt(mode, True, given)) for mode in ("exclude", "rank")]
        recorder.settle(step, [9, 9], [5, 5], [0.0, 0.0], 2.0)
    recorder.flush(1)
    names = [("sft", "loss", 2.0), ("sft", "loss", 1.5), ("rl", "reward", 0.1), ("rl", "reward", 0.2)]
    metrics = pl.DataFrame(
        [
            {"phase": phase, "step": n, "name": name, "value": value}
            for n, (phase, name, value) in enumerate(names)
        ]
    )
    folder = lake.home / "models" / "trained"
    folder.mkdir(parents=True)
    parts: dict[str, Sequence[Path]] = {
        table: sorted((lake.home / "rollouts").glob(f"{table}-*.parquet")) for table in ("episodes", "steps")
    }
    return lake.write(
        "train",
        "trained",
        {"training_metrics": metrics, **parts},
        inputs=[sets.key, traces.key],
        parameters="{}",
        code="c",
        read_snapshot=lake.snapshot(),
        details={"model": str(folder.relative_to(lake.home))},
        check=validate_batch,
    )


def _rollout(prompt: Prompt) -> Rollout:
    given: CandidateSet = prompt.set
    text = sometimes_wrong(prompt)
    action = parse(text, given.labels, prompt.mode, prompt.thinking)
    row = {
        "set_id": given.set_id,
        "task": given.task,
        "mode": prompt.mode,
        "thinking": prompt.thinking,
        "pool": list(given.labels),
    }
    return Rollout(row, "?", text, action, reward(action, given.relevance, prompt.mode))
