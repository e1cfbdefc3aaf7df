"""Stage 3: a teacher scores every pool and writes reasoning traces for training queries.

A trace is a grade for each candidate of a random sub-pool, then the action: the worst one (IRanker) or the whole
order (DRanker). The sub-pool always holds a most relevant candidate, as a survivors' pool does until it is lost.
Traces whose action is wrong by the true relevance are stored as rejected, with the reason. The classical teachers
(see `ranker.teachers`) are labelled as such; a model as teacher answers the same prompts as a policy.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ranker import config, engines, prompts, stage, teachers
from ranker.config import DistillParams, PolicyParams, Task
from ranker.engines import Completion, Sampling
from ranker.errors import BadConfig
from ranker.lake import Lake
from ranker.parsing import parse
from ranker.prompts import Ask, Mode, Style
from ranker.refs import Check, Ref
from ranker.sets import CandidateSet, load_sets

CODE = (
    "ranker/distill.py",
    "ranker/teachers.py",
    "ranker/bm25.py",
    "ranker/prompts.py",
    "ranker/parsing.py",
    "sql/distill/*.sql",
    "sql/candidates/splits.sql",
)
MODEL_TOKENS = 512
"""Longest answer of a model as teacher."""
BATCH = 256
TRACES = {
    "trace_id": pl.String,
    "set_id": pl.String,
    "task": pl.String,
    "mode": pl.String,
    "thinking": pl.Boolean,
    "pool": pl.List(pl.String),
    "teacher": pl.String,
    "teacher_kind": pl.String,
    "completion": pl.String,
    "action": pl.List(pl.String),
    "accepted": pl.Boolean,
    "reason": pl.String,
    "prompt_tokens": pl.Int32,
    "completion_tokens": pl.Int32,
    "milliseconds": pl.Float64,
}
log = logging.getLogger("ranker.distill")


def run(lake: Lake, params: DistillParams, *, sets: Ref, policy: PolicyParams, check: Check, force: bool = False) -> Ref:
    """Score all pools of the candidates stage `sets`, and write traces for its training queries in the policy's prompt style.

    Returns:
        A Ref whose details hold, by task: teacher, traces, accepted and rejected (counts by reason).

    Raises:
        BadConfig: a model as teacher does not speak the policy's prompt style.
        BadModel: a model as teacher cannot be loaded.
    """

    def produce(key: str):
        scored = {name: _scored(lake, sets, config.task(name), policy.style) for name in sets.details["tasks"]}
        scores = pl.concat(
            [
                frame.select("set_id", "label", pl.lit(teachers.NAMES[config.task(name).scenario]).alias("teacher"), "score")
                for name, frame in scored.items()
            ]
        )
        if params.teacher == "classical":
            rows = [_classical(frame, config.task(name), params, policy.style, key) for name, frame in scored.items()]
        else:
            rows = _by_model(lake, sets, params, policy.style, key)
        traces = pl.concat(rows)
        return {"teacher_scores": scores, "traces": traces}, {"tasks": _summary(traces)}

    asked = {"params": params, "style": policy.style, "tasks": [_shape(config.task(name)) for name in sets.details["tasks"]]}
    return stage.once(lake, "distill", parameters=asked, inputs=[sets], code=CODE, check=check, force=force, produce=produce)


def _shape(task: Task) -> list[Any]:
    """What of a task's definition decides its traces."""
    return [task.name, task.scenario, task.max_words, task.item_tokens, task.wording]


def _summary(traces: pl.DataFrame) -> dict[str, Any]:
    counted = traces.group_by("task", "teacher", "reason").len().sort("task", "reason")
    summary: dict[str, Any] = {}
    for name, teacher, reason, count in counted.iter_rows():
        facts = summary.setdefault(name, {"teacher": teacher, "traces": 0, "accepted": 0, "rejected": {}})
        facts["traces"] += count
        if reason:
            facts["rejected"][reason] = count
        else:
            facts["accepted"] += count
    return summary


# -- scores -----------------------------------------------------------------------------------------------------


def _scored(lake: Lake, sets: Ref, task: Task, style: Style) -> pl.DataFrame:
    """All candidates of a task in shown order, with the classical teacher's `score`."""
    pools = lake.named("distill/pools", {"batch_id": sets.key, "task": task.name})
    return pools.with_columns(pl.Series("score", _scores(lake, sets, task, pools, style), dtype=pl.Float64))


def _scores(lake: Lake, sets: Ref, task: Task, pools: pl.DataFrame, style: Style) -> np.ndarray:
    source, shares = sets.details["source"], {name: sets.details[name] for name in ("seed", "test_share", "valid_share")}
    where = {"batch_id": source, "task": task.name}
    lake.register("splits", lake.named("candidates/splits", {**where, **shares}))
    if task.scenario == "recommendation":
        return teachers.item_knn(pools, lake.named("distill/visits", {**where, "seed": shares["seed"]}))
    if task.scenario == "passage":
        return teachers.idf_overlap(pools, task.max_words if style == "compact" else None)
    if task.scenario == "routing":
        return teachers.nearest_effect(pools, lake.named("distill/judgements", where))
    return teachers.word_overlap(pools)


# -- what is asked ----------------------------------------------------------------------------------------------


WHOLE_POOLS = 0.5


def _draws(params: DistillParams, task: str, sets: int, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each trace: row of its set, which slots are shown (bool, traces × n), whether the whole order is asked, whether it reasons.

    Sets take turns in a drawn order; sub-pool sizes are even from min_pool to n (a DRanker is always asked for whole
    pools, so half of its traces have them); a most relevant candidate is always shown.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{params.seed}|{task}".encode()).digest()[:8], "big"))
    n = relevance.shape[1]
    at = np.resize(rng.permutation(sets), params.traces)
    keys = rng.random((params.traces, n))
    best = relevance[at] == relevance[at].max(1, keepdims=True)
    kept_best = np.argmax(np.where(best, keys, -1), axis=1)
    keys[np.arange(params.traces), kept_best] = -1
    whole = rng.random(params.traces) < params.rank_share
    sizes = rng.integers(min(params.min_pool, n), n + 1, params.traces)
    sizes[whole & (rng.random(params.traces) < WHOLE_POOLS)] = n
    shown = keys.argsort(1).argsort(1) < sizes[:, None]
    return at, shown, whole, rng.random(params.traces) >= params.nothink_share


def _fault(mode: Mode, action: Sequence[str], relevance: dict[str, float]) -> str:
    """Why an action is wrong by the true relevance; empty where it is not.

    An exclusion is wrong if it drops a most relevant candidate while a less relevant one stands; an order, if no
    most relevant candidate is in its upper half. A pool of equals cannot be answered wrongly.
    """
    best = max(relevance.values())
    if best == min(relevance.values()):
        return ""
    if mode == "exclude":
        return "excludes_best" if relevance[action[0]] == best else ""
    upper = action[: (len(action) + 1) // 2]
    return "" if any(relevance[label] == best for label in upper) else "ranks_best_low"


# -- a classical teacher ----------------------------------------------------------------------------------------


def _classical(scored: pl.DataFrame, task: Task, params: DistillParams, style: Style, key: str) -> pl.DataFrame:
    train = scored.filter(pl.col("split") == "train")
    edges = teachers.grade_edges(train["score"].to_numpy(), params.grades)
    by_set = train.group_by("set_id", maintain_order=True).agg("label", "score", "relevance")
    ids, labels, scores = by_set["set_id"].to_list(), by_set["label"].to_list(), by_set["score"].to_list()
    relevance = by_set["relevance"].to_list()
    grades = [row.tolist() for row in teachers.grade(np.asarray(scores), edges)]
    at, shown, whole, thinking = _draws(params, task.name, len(ids), np.asarray(relevance))
    rows = []
    for number, (s, mask) in enumerate(zip(at.tolist(), shown, strict=True)):
        slots = np.flatnonzero(mask).tolist()
        mode: Mode = "rank" if whole[number] else "exclude"
        pool, own = [labels[s][i] for i in slots], [scores[s][i] for i in slots]
        given = teachers.separate([grades[s][i] for i in slots], own, params.grades - 1)
        # An order must follow from the grades before it, or no reader could learn to derive it: equals in shown order.
        action = _action(mode, pool, given if mode == "rank" and thinking[number] else own)
        completion = prompts.trace(mode, bool(thinking[number]), dict(zip(pool, given, strict=True)), action, style)
        fault = _fault(mode, action, {labels[s][i]: relevance[s][i] for i in slots}) if params.reject else ""
        rows.append(
            (
                _id(key, task.name, number),
                ids[s],
                task.name,
                mode,
                bool(thinking[number]),
                pool,
                teachers.NAMES[task.scenario],
                "classical",
                completion,
                action,
                not fault,
                fault,
                0,
                len(completion.split()),
                0.0,
            )
        )
    return pl.DataFrame(rows, schema=TRACES, orient="row")


def _action(mode: Mode, pool: Sequence[str], scores: Sequence[float]) -> list[str]:
    """The lowest score, or all by score from the highest; equals in shown order."""
    if mode == "exclude":
        return [pool[min(range(len(pool)), key=scores.__getitem__)]]
    return [pool[i] for i in sorted(range(len(pool)), key=lambda i: -scores[i])]


def _id(key: str, task: str, number: int) -> str:
    return hashlib.sha256(f"{key}|{task}|{number}".encode()).hexdigest()[:16]


# -- a model as teacher -----------------------------------------------------------------------------------------


def _by_model(lake: Lake, sets: Ref, params: DistillParams, style: Style, key: str) -> list[pl.DataFrame]:
    """Traces by an engine, judged by the same rules; an unreadable answer is rejected with the parser's reason."""
    folder = lake.home / params.teacher
    engine = engines.load(folder if folder.exists() else params.teacher, batch=BATCH)
    if engine.style != style:
        raise BadConfig(
            "a model as teacher must speak the policy's prompt style",
            seen=f"{params.teacher} speaks {engine.style}, train.policy.style is {style}",
            remedy=f"set train.policy.style to {engine.style}, or distill.teacher to classical",
        )
    frames = []
    for name in sets.details["tasks"]:
        train = load_sets(lake, sets.key, split="train", task=name)
        asks = _asks(train, params, name)
        done: list[Completion] = []
        for start in range(0, len(asks), BATCH):
            done += engine.complete(asks[start : start + BATCH], Sampling(max_tokens=MODEL_TOKENS, seed=params.seed + start))
            log.info("%s: %d of %d traces by %s", name, len(done), len(asks), params.teacher)
        rows = [
            _answered(_id(key, name, number), ask, completion, params)
            for number, (ask, completion) in enumerate(zip(asks, done, strict=True))
        ]
        frames.append(pl.DataFrame(rows, schema=TRACES, orient="row"))
    return frames


def _asks(train: Sequence[CandidateSet], params: DistillParams, task: str) -> list[Ask]:
    relevance = np.array([[c.relevance for c in given.candidates] for given in train])
    at, shown, whole, thinking = _draws(params, task, len(train), relevance)
    return [
        Ask(
            "rank" if rank else "exclude",
            bool(think),
            train[s].keep([label for label, keep in zip(train[s].labels, mask, strict=True) if keep]),
        )
        for s, mask, rank, think in zip(at, shown, whole, thinking, strict=True)
    ]


def _answered(trace_id: str, ask: Ask, done: Completion, params: DistillParams) -> tuple[Any, ...]:
    action = parse(done.text, ask.set.labels, ask.mode, ask.thinking, truncated=done.finish == "length")
    fault = str(action.reason.value)
    if action.valid and params.reject:
        fault = _fault(ask.mode, action.labels, ask.set.relevance)
    return (
        trace_id,
        ask.set.set_id,
        ask.set.task,
        ask.mode,
        ask.thinking,
        list(ask.set.labels),
        Path(params.teacher).name,
        "model",
        done.text,
        list(action.labels),
        not fault,
        fault,
        done.prompt_tokens,
        done.completion_tokens,
        done.milliseconds,
    )
