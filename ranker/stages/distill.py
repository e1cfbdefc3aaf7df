"""Stage 3: a teacher scores every pool and writes reasoning traces for training queries.

A trace is a grade for each candidate of a random sub-pool, then the action: the worst one (IRanker) or the
whole order (DRanker). The sub-pool always holds a most relevant candidate, as a survivors' pool does until it
is lost. Traces whose action is wrong by the true relevance are stored as rejected, with the reason. The
classical teachers (see `ranker.stages.teachers`) are labelled as such; a model as teacher answers the same
prompts as a policy, as often as `samples` says, and its answers are kept on disk as they come
(`ranker.stages.completion_cache`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ranker import config, engines
from ranker.config import DistillParams, FanOutParams, PolicyParams, Task
from ranker.engines import Completion, Engine, Sampling
from ranker.errors import BadConfig
from ranker.lake import Lake, training_side
from ranker.lake.candidate_sets import load_sets
from ranker.policy.parsing import parse
from ranker.policy.prompts import Mode, Prompt, Style, compact_words, messages, trace
from ranker.progress import Progress
from ranker.refs import Check, Ref, digest, file_digest
from ranker.retrieval import routing, word_overlap
from ranker.retrieval.dense import dense
from ranker.retrieval.item_knn import item_knn
from ranker.retrieval.popularity import popularity
from ranker.stages import identity, rejection_sampling, teachers
from ranker.stages.completion_cache import Budget, Call, CompletionCache
from ranker.stages.fan_out import FannedOut, cluster
from ranker.stages.run import run_cached
from ranker.types import CandidateSet, JsonObject

SMALLEST_POOL = 2
"""Candidates of the smallest sub-pool that a trace is written for."""
BATCH = 256
"""Prompts that a model here is given at once."""
SHARDS = 8
"""Times that, where workers share them: what is written down at once."""
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
    "cost": pl.Float64,
}
log = logging.getLogger("ranker.stages.distill")


def run(
    lake: Lake,
    params: DistillParams,
    *,
    sets: Ref,
    policy: PolicyParams,
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    fan_out: FanOutParams | None = None,
) -> Ref:
    """Score all pools of the candidates stage `sets`, and write traces for its training queries in the
    policy's prompt style.

    Args:
        fan_out: who answers where a model in a folder teaches; None for this process.

    Returns:
        A Ref whose details hold, by task: teacher, traces, accepted and rejected (counts by reason). Where a
        model teaches, `models` holds for each its answers, tokens, cost and whether a budget `ended` it.

    Raises:
        BadConfig: a teacher cannot score a task, or knows what a chat model is not told, or a model as
            teacher does not speak the policy's prompt style.
        BadModel: a model as teacher, or the encoder of the teacher `dense`, cannot be loaded.
        Unreachable: an endpoint does not answer; the answers so far are kept, and the next run goes on from
        there.
    """
    chosen = _chosen(lake.home, params, sets.details["tasks"], policy.style)
    workers = fan_out or FanOutParams()
    models = dict.fromkeys(choice.model for choice in chosen if choice.model)
    caches = {
        model: CompletionCache(
            lake.home / "jobs" / _answers_key(lake.home, model, params, sets, policy.style, chosen)
        )
        for model in models
    }

    def produce(key: str):
        with Progress("scoring pools, tasks", len(chosen), log.info) as progress:
            scored = {
                choice.task.name: _scored(lake, sets, choice, params, policy.style)
                for choice in progress.over(chosen)
            }
        scores = pl.concat(
            [
                frame.select("set_id", "label", pl.lit(choice.ranker).alias("teacher"), "score")
                for choice, frame in zip(chosen, scored.values(), strict=True)
            ]
        )
        classical = [choice for choice in chosen if not choice.model]
        with Progress("writing traces, tasks", len(classical), log.info) as progress:
            rows = [
                _classical(scored[choice.task.name], choice, params, policy.style, key)
                for choice in progress.over(classical)
            ]
        budget, summaries = Budget(params.max_calls, params.max_tokens), {}
        for model, cache in caches.items():
            with lake.claim("answers", cache.folder.name):
                cache.begin(force)
                taught = [choice.task.name for choice in chosen if choice.model == model]
                frame, summaries[model] = _by_model(
                    lake, sets, model, taught, cache, budget, params, policy.style, key, workers
                )
                rows.append(frame)
        traces = pl.concat(rows)
        return {"teacher_scores": scores, "traces": traces}, {"tasks": _summary(traces)} | (
            {"models": summaries} if summaries else {}
        )

    asked = {"params": params, "style": policy.style, "tasks": [_shape(choice.task) for choice in chosen]}
    if params.encoder:
        asked["encoder"] = file_digest(lake.home / params.encoder / "model.safetensors")
    ref = run_cached(
        lake,
        "distill",
        parameters=asked,
        inputs=[sets],
        roots=[__name__],
        check=check,
        force=force,
        only_finished=only_finished,
        produce=produce,
    )
    for cache in caches.values():
        if not ref.skipped:
            cache.finish()
    return ref


def _shape(task: Task) -> list[object]:
    """What of a task's definition decides its traces."""
    return [task.name, task.scenario, task.max_words, task.wording]


def _summary(traces: pl.DataFrame) -> JsonObject:
    counted = traces.group_by("task", "teacher", "reason").len().sort("task", "reason")
    summary: JsonObject = {}
    for name, teacher, reason, count in counted.iter_rows():
        facts = summary.setdefault(name, {"teacher": teacher, "traces": 0, "accepted": 0, "rejected": {}})
        facts["traces"] += count
        if reason:
            facts["rejected"][reason] = count
        else:
            facts["accepted"] += count
    return summary


# -- who teaches


@dataclass(frozen=True, slots=True)
class Choice:
    """Who teaches a task: a model, or else the classical `ranker`, which scores its pools in any case."""

    task: Task
    ranker: str
    model: str


def _chosen(home: Path, params: DistillParams, tasks: Sequence[str], style: Style) -> list[Choice]:
    """Everything that can be refused before anything is spent."""
    strange = sorted(set(params.teachers) - set(tasks))
    if strange:
        raise BadConfig(
            "distill.teachers names tasks of this run",
            seen=", ".join(strange),
            remedy=f"name some of {', '.join(tasks)}",
        )
    return [_choice(home, params, config.task(name), style) for name in tasks]


def _choice(home: Path, params: DistillParams, task: Task, style: Style) -> Choice:
    teacher = params.teachers.get(task.name, params.teacher)
    ranker = teachers.ranker_of(teacher, task)
    if ranker == "dense":
        engines.require_encoder(home / params.dense_model, "distill.dense_model")
    if teacher == teachers.CLASSICAL or teacher in teachers.RANKERS:
        if style == "chat" and params.traces and ranker in teachers.UNSEEN:
            raise BadConfig(
                "a chat model is taught what can be inferred from its prompt",
                seen=f"{ranker} for {task.name}: it reads {teachers.RANKERS[ranker][0]}, no prompt says that",
                remedy=(
                    f"set distill.teachers.{task.name} to a model (vllm:<model>, openai:<base url>#<model>),"
                    " or distill.traces and train.sft.max_steps to 0: GRPO alone"
                ),
            )
        return Choice(task, ranker, "")
    if params.shape == "sparse":
        raise BadConfig(
            "a model writes its reasoning itself",
            seen=f"distill.shape sparse with {teacher} for {task.name}",
            remedy="set distill.shape to dense, or choose a classical teacher",
        )
    if not any(mark in teacher for mark in "/:") and not (home / teacher).is_dir():
        known = ", ".join([teachers.CLASSICAL, *teachers.RANKERS])
        raise BadConfig(
            "a teacher must be known",
            seen=f"{teacher} for {task.name}",
            remedy=f"choose {known}; or a model: its folder, vllm:<model>, openai:<base url>#<model>",
        )
    return Choice(task, ranker, teacher)


# -- scores


def _scored(lake: Lake, sets: Ref, choice: Choice, params: DistillParams, style: Style) -> pl.DataFrame:
    """All candidates of a task in shown order, with the classical ranker's `score`.

    Raises:
        BadConfig: a ranker that was asked for by name has nothing to say (texts without a shared word, say).
    """
    pools = lake.named("distill/pools", {"batch_id": sets.key, "task": choice.task.name})
    scores = pl.Series("score", _scores(lake, sets, choice, pools, params, style), dtype=pl.Float64)
    if choice.ranker != teachers.NAMES[choice.task.scenario] and scores.min() == scores.max():
        raise BadConfig(
            "a teacher must be able to tell candidates apart",
            seen=f"every score of {choice.ranker} on {choice.task.name} is {scores.min():g}",
            remedy=f"set distill.teachers.{choice.task.name} to classical",
        )
    return pools.with_columns(scores)


def _scores(
    lake: Lake, sets: Ref, choice: Choice, pools: pl.DataFrame, params: DistillParams, style: Style
) -> np.ndarray:
    task = choice.task
    limit = task.max_words if style == "compact" else None
    if choice.ranker == "item-knn":
        return item_knn(pools, training_side.visits(lake, sets, task.name))
    if choice.ranker == "popularity":
        return popularity(pools)
    if choice.ranker == "bm25":
        return word_overlap.bm25(pools, compact_words, limit)
    if choice.ranker == "idf-overlap":
        return word_overlap.idf_overlap(pools, compact_words, limit)
    if choice.ranker == "dense":
        return dense(pools, engines.load_encoder(lake.home / params.dense_model))
    if choice.ranker == "knn-effect":
        return routing.nearest_effect(pools, training_side.judgements(lake, sets, task.name))
    if choice.ranker == "best-llm":
        return routing.mean_effect(pools, training_side.judgements(lake, sets, task.name))
    return word_overlap.word_overlap(pools)


# -- what is asked


WHOLE_POOLS = 0.5


def _draws(
    params: DistillParams, task: str, sets: int, relevance: np.ndarray, whole_pools: float = WHOLE_POOLS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each trace: row of its set, which slots are shown (bool, traces × n), whether the whole order is
    asked, whether it reasons, who is first of equals (traces × n).

    Sets take turns in a drawn order; sub-pool sizes are even from SMALLEST_POOL to n (a DRanker is always
    asked for whole pools, so half of its traces have them); a most relevant candidate is always shown.
    """
    rng = np.random.default_rng(
        int.from_bytes(hashlib.sha256(f"{params.seed}|{task}".encode()).digest()[:8], "big")
    )
    n = relevance.shape[1]
    at = np.resize(rng.permutation(sets), params.traces)
    keys = rng.random((params.traces, n))
    best = relevance[at] == relevance[at].max(1, keepdims=True)
    kept_best = np.argmax(np.where(best, keys, -1), axis=1)
    keys[np.arange(params.traces), kept_best] = -1
    whole = rng.random(params.traces) < params.rank_share
    sizes = rng.integers(min(SMALLEST_POOL, n), n + 1, params.traces)
    sizes[whole & (rng.random(params.traces) < whole_pools)] = n
    shown = keys.argsort(1).argsort(1) < sizes[:, None]
    return at, shown, whole, rng.random(params.traces) >= params.nothink_share, rng.random((params.traces, n))


# -- a classical teacher


def _classical(
    scored: pl.DataFrame, choice: Choice, params: DistillParams, style: Style, key: str
) -> pl.DataFrame:
    task = choice.task
    train = scored.filter(pl.col("split") == "train")
    edges = teachers.grade_edges(train["score"].to_numpy(), params.grades)
    by_set = train.group_by("set_id", maintain_order=True).agg("label", "score", "relevance")
    ids, labels, scores = by_set["set_id"].to_list(), by_set["label"].to_list(), by_set["score"].to_list()
    relevance = by_set["relevance"].to_list()
    grades = [row.tolist() for row in teachers.grade(np.asarray(scores), edges)]
    # One pass of a likelihood policy reads a whole pool, of which an order says the most.
    pools = 1.0 if style == "likelihood" else WHOLE_POOLS
    at, shown, whole, thinking, first = _draws(params, task.name, len(ids), np.asarray(relevance), pools)
    rows: list[tuple[object, ...]] = []
    for number, (s, mask) in enumerate(zip(at.tolist(), shown, strict=True)):
        slots = np.flatnonzero(mask).tolist()
        mode: Mode = "rank" if whole[number] else "exclude"
        pool, own = [labels[s][i] for i in slots], [scores[s][i] for i in slots]
        given = teachers.separate([grades[s][i] for i in slots], own, params.grades - 1)
        # An order must follow from the grades before it, or no reader could learn to derive it.
        action = _action(
            mode, pool, given if mode == "rank" and thinking[number] else own, first[number, slots]
        )
        completion = trace(
            mode, bool(thinking[number]), dict(zip(pool, given, strict=True)), action, style, params.shape
        )
        fault = (
            rejection_sampling.fault(mode, action, {labels[s][i]: relevance[s][i] for i in slots})
            if params.reject
            else ""
        )
        rows.append(
            (
                _id(key, task.name, number),
                ids[s],
                task.name,
                mode,
                bool(thinking[number]),
                pool,
                choice.ranker,
                "classical",
                completion,
                action,
                not fault,
                fault,
                0,
                len(completion.split()),
                0.0,
                0.0,
            )
        )
    return pl.DataFrame(rows, schema=TRACES, orient="row")


def _action(mode: Mode, pool: Sequence[str], scores: Sequence[float], first: np.ndarray) -> list[str]:
    """The lowest score, or all by score from the highest; of equals any (by `first`).

    In shown order they would teach a position: SFT then names the first of equals as surely as a worse
    candidate, rewards see no other tried, and what tells equals apart is not learned.
    """
    if mode == "exclude":
        return [pool[min(range(len(pool)), key=lambda i: (scores[i], first[i]))]]
    return [pool[i] for i in sorted(range(len(pool)), key=lambda i: (-scores[i], first[i]))]


def _id(key: str, task: str, number: int) -> str:
    return hashlib.sha256(f"{key}|{task}|{number}".encode()).hexdigest()[:16]


# -- a model as teacher


def _answers_key(
    home: Path, model: str, params: DistillParams, sets: Ref, style: Style, chosen: Sequence[Choice]
) -> str:
    """Identity of a model's answers.

    What only decides their use (budgets, prices, what is kept) is no part of it. Of the code it is the
    engines, the prompts and the types of both: what else they import gives them values that are named here.
    """
    wanted = (
        "traces",
        "rank_share",
        "nothink_share",
        "samples",
        "temperature",
        "max_completion_length",
        "seed",
    )
    asked = {name: getattr(params, name) for name in wanted}
    tasks = [_shape(choice.task) for choice in chosen if choice.model == model]
    made = engines.manifest(engines.located(model, home).removeprefix(engines.VLLM))
    code = identity.code(
        "ranker.engines", "ranker.policy.prompts", within=("ranker.engines", "ranker.policy", "ranker.types")
    )
    # An endpoint's answers were paid for, and owe nothing to the libraries of this machine.
    libraries = {} if model.startswith(engines.OPENAI) else code.libraries
    return digest("answers", model, made, asked, sets.key, style, tasks, code.modules, libraries)


def _by_model(
    lake: Lake,
    sets: Ref,
    model: str,
    tasks: Sequence[str],
    cache: CompletionCache,
    budget: Budget,
    params: DistillParams,
    style: Style,
    key: str,
    fan_out: FanOutParams,
) -> tuple[pl.DataFrame, JsonObject]:
    """Traces by an engine, judged by the same rules, and what they took; an unreadable answer is rejected
    with the parser's reason.
    """
    prompts = _in_turn(
        [_asks(load_sets(lake, sets.key, split="train", task=name), params, name) for name in tasks]
    )
    distinct = _distinct(prompts, style)
    calls = [Call(prompt, sample) for prompt in distinct for sample in range(params.samples)]
    shared = fan_out.engine != "local" and not model.startswith(engines.OPENAI)
    batch = 4 * params.concurrency if model.startswith(engines.OPENAI) else BATCH
    sampling = Sampling(params.max_completion_length, params.temperature, params.seed)
    load: Callable[[], Engine] = partial(_engine, lake.home, model, params, style)
    if shared:
        load, batch = partial(FannedOut, model, style, load, fan_out, BATCH), SHARDS * BATCH
    with cluster(fan_out) if shared else nullcontext():
        answers = cache.answers(calls, load, sampling, budget, batch)
    rows = [
        row
        for number, prompt in enumerate(distinct)
        for row in _answered(
            key,
            prompt,
            number,
            answers[number * params.samples : (number + 1) * params.samples],
            model,
            params,
        )
    ]
    traces = pl.DataFrame(rows, schema=TRACES, orient="row")
    summaries = {
        "answers": traces.height,
        "wanted": len(calls),
        "same_prompt_left_out": len(prompts) - len(distinct),
        "prompt_tokens": int(traces["prompt_tokens"].sum()),
        "completion_tokens": int(traces["completion_tokens"].sum()),
        "cost": float(traces["cost"].sum()),
        "ended": budget.spent if traces.height < len(calls) else "",
    }
    if summaries["ended"]:
        log.warning(
            "%s: distill.%s is spent after %d of %d answers; the stage goes on with them",
            model,
            summaries["ended"],
            traces.height,
            len(calls),
        )
    return traces, summaries


def _engine(home: Path, model: str, params: DistillParams, style: Style) -> Engine:
    engine = engines.load(
        engines.located(model, home),
        batch=BATCH,
        concurrency=params.concurrency,
    )
    if engine.style != style:
        raise BadConfig(
            "a model as teacher must speak the policy's prompt style",
            seen=f"{model} speaks {engine.style}, train.policy.style is {style}",
            remedy=f"set train.policy.style to {engine.style}, or distill.teacher to classical",
        )
    return engine


def _asks(train: Sequence[CandidateSet], params: DistillParams, task: str) -> list[Prompt]:
    relevance = np.array([[c.relevance for c in given.candidates] for given in train])
    at, shown, whole, thinking, _ = _draws(params, task, len(train), relevance)
    drawn: list[CandidateSet] = [train[s] for s in at]
    return [
        Prompt(
            "rank" if rank else "exclude",
            bool(think),
            given.keep([label for label, keep in zip(given.labels, mask, strict=True) if keep]),
        )
        for given, mask, rank, think in zip(drawn, shown, whole, thinking, strict=True)
    ]


def _in_turn(tasks: Sequence[Sequence[Prompt]]) -> list[Prompt]:
    """One ask of each task, then the next of each: a budget that ends the stage leaves every task its
    share.
    """
    return [
        prompts[number]
        for number in range(max(map(len, tasks)))
        for prompts in tasks
        if number < len(prompts)
    ]


def _distinct(prompts: Sequence[Prompt], style: Style) -> list[Prompt]:
    """The first ask of every prompt: the same words asked again would be further samples under another
    name.
    """
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(messages(prompt, style)[-1]["content"], prompt)
    return list(first.values())


def _answered(
    key: str, prompt: Prompt, number: int, answers: Sequence[Completion], model: str, params: DistillParams
) -> Iterator[tuple[object, ...]]:
    """Rows of the samples of one prompt."""
    actions = [
        parse(done.text, prompt.set.labels, prompt.mode, prompt.thinking, truncated=done.finish == "length")
        for done in answers
    ]
    judged = [(done.text, action) for done, action in zip(answers, actions, strict=True)]
    reasons = rejection_sampling.reasons(
        judged,
        prompt.mode,
        prompt.set.relevance,
        reject=params.reject,
        majority=params.majority,
        keep=params.keep,
        above=params.reward_above,
    )
    for sample, (done, action, reason) in enumerate(zip(answers, actions, reasons, strict=True)):
        yield (
            _id(key, f"{prompt.set.task}|{model}", number * params.samples + sample),
            prompt.set.set_id,
            prompt.set.task,
            prompt.mode,
            prompt.thinking,
            list(prompt.set.labels),
            _short(model),
            "model",
            done.text,
            list(action.labels),
            not reason,
            reason,
            done.prompt_tokens,
            done.completion_tokens,
            done.milliseconds,
            (done.prompt_tokens * params.price_in + done.completion_tokens * params.price_out) / 1e6,
        )


def _short(model: str) -> str:
    """A model's name as a teacher: the folder's, or what an endpoint calls it."""
    return model.partition("#")[2] if model.startswith(engines.OPENAI) else Path(model).name
