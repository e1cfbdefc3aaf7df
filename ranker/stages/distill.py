"""Stage 3: a teacher scores every pool and writes reasoning traces for training queries.

A trace is a grade for each candidate of a random sub-pool, then the action: the worst one (IRanker) or the
whole order (DRanker). The sub-pool always holds a most relevant candidate, as a survivors' pool does until it
is lost. Traces whose action is wrong by the true relevance are stored as rejected, with the reason. The
classical teachers (see `ranker.stages.teachers`) are labelled as such; a model as teacher answers the same
prompts as a policy (`ranker.stages.model_teacher`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ranker import config, engines
from ranker.config import DistillParams, FanOutParams, PolicyParams, Task
from ranker.errors import BadConfig
from ranker.lake import Lake, training_side
from ranker.lake.candidate_sets import load_sets
from ranker.policy.prompts import Mode, Style, compact_words, trace
from ranker.progress import Progress
from ranker.refs import Check, Ref, file_digest
from ranker.retrieval import routing, word_overlap
from ranker.retrieval.dense import dense
from ranker.retrieval.item_knn import item_knn
from ranker.retrieval.popularity import popularity
from ranker.stages import rejection_sampling, teachers
from ranker.stages.asked_traces import TRACES, WHOLE_POOLS, draws, shape, trace_id
from ranker.stages.completion_cache import Budget
from ranker.stages.model_teacher import ModelTeacher
from ranker.stages.run import Produced, run_cached
from ranker.types import JsonObject

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
    style, workers = policy.style, fan_out or FanOutParams()
    chosen = _chosen(lake.home, params, sets.details["tasks"], style)
    taught = _by_their_model(lake.home, chosen, params, sets.key, style)

    def produce(key: str) -> Produced:
        scored = _all_scored(lake, sets, chosen, params, style)
        scores = pl.concat(
            frame.select("set_id", "label", pl.lit(choice.ranker).alias("teacher"), "score")
            for choice, frame in zip(chosen, scored, strict=True)
        )
        by_scores = _all_classical(scored, chosen, params, style, key)
        by_models, summaries = _all_by_model(
            lake, sets, taught, Budget(params.max_calls, params.max_tokens), key, workers, force
        )
        traces = pl.concat([*by_scores, *by_models])
        details: JsonObject = {"tasks": _summary(traces)} | ({"models": summaries} if summaries else {})
        return {"teacher_scores": scores, "traces": traces}, details

    asked = {"params": params, "style": style, "tasks": [shape(choice.task) for choice in chosen]}
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
    if not ref.skipped:
        for teacher in taught:
            teacher.answers.finish()
    return ref


def _by_their_model(
    home: Path, chosen: Sequence[Choice], params: DistillParams, sets: str, style: Style
) -> list[ModelTeacher]:
    tasks: dict[str, list[Task]] = {}
    for choice in chosen:
        if choice.model:
            tasks.setdefault(choice.model, []).append(choice.task)
    return [ModelTeacher(home, *one, params, sets=sets, style=style) for one in tasks.items()]


def _all_scored(
    lake: Lake, sets: Ref, chosen: Sequence[Choice], params: DistillParams, style: Style
) -> list[pl.DataFrame]:
    with Progress("scoring pools, tasks", len(chosen), log.info) as progress:
        return [_scored(lake, sets, choice, params, style) for choice in progress.over(chosen)]


def _all_classical(
    scored: Sequence[pl.DataFrame], chosen: Sequence[Choice], params: DistillParams, style: Style, key: str
) -> list[pl.DataFrame]:
    classical = [(choice, frame) for choice, frame in zip(chosen, scored, strict=True) if not choice.model]
    with Progress("writing traces, tasks", len(classical), log.info) as progress:
        return [_classical(frame, choice, params, style, key) for choice, frame in progress.over(classical)]


def _all_by_model(
    lake: Lake,
    sets: Ref,
    taught: Sequence[ModelTeacher],
    budget: Budget,
    key: str,
    fan_out: FanOutParams,
    anew: bool,
) -> tuple[list[pl.DataFrame], JsonObject]:
    """Traces of every model, and by its name what they took."""
    frames: list[pl.DataFrame] = []
    summaries: JsonObject = {}
    for teacher in taught:
        with lake.claim("answers", teacher.answers.folder.name):
            teacher.answers.begin(anew)
            asked = {
                task.name: load_sets(lake, sets.key, split="train", task=task.name) for task in teacher.tasks
            }
            frame, summaries[teacher.model] = teacher.traces(key, asked, budget, fan_out)
            frames.append(frame)
    return frames, summaries


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
    drawn = draws(params, task.name, np.asarray(relevance), pools)
    rows: list[tuple[object, ...]] = []
    for number, (s, mask) in enumerate(zip(drawn.row.tolist(), drawn.shown, strict=True)):
        slots = np.flatnonzero(mask).tolist()
        mode: Mode = "rank" if drawn.whole[number] else "exclude"
        thinking = bool(drawn.thinking[number])
        pool, own = [labels[s][i] for i in slots], [scores[s][i] for i in slots]
        given = teachers.separate([grades[s][i] for i in slots], own, params.grades - 1)
        # An order must follow from the grades before it, or no reader could learn to derive it.
        action = _action(
            mode, pool, given if mode == "rank" and thinking else own, drawn.first[number, slots]
        )
        completion = trace(mode, thinking, dict(zip(pool, given, strict=True)), action, style, params.shape)
        fault = (
            rejection_sampling.fault(mode, action, {labels[s][i]: relevance[s][i] for i in slots})
            if params.reject
            else ""
        )
        rows.append(
            (
                trace_id(key, task.name, number),
                ids[s],
                task.name,
                mode,
                thinking,
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
