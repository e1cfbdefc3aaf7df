"""The phases of training a policy that writes its answers: one made from scratch, or a pretrained chat model.
Those of a likelihood policy: likelihood.py.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import polars as pl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from ranker.config import GRPOParams
from ranker.engines import base_of
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import adapted, declared_ends
from ranker.errors import BadConfig
from ranker.policy.parsing import grades, parse
from ranker.policy.prompts import Prompt, Style
from ranker.policy.rewards import (
    Answer,
    OwnReward,
    length_penalty,
    named,
    reward,
    shown_order,
    trace_reward,
)
from ranker.strategies.episodes import Origin
from ranker.train.worker import asked, distributed, labels, phase_run, policy, scale, validation
from ranker.train.worker.data import UNREADABLE, Fitting, batched_by_length, tokenized, weighted
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Asked, Recorder, Rollout
from ranker.train.worker.rollouts import Episodes, Reserve, Row
from ranker.train.worker.thoughts import Thoughts
from ranker.train.worker.trainers import PlainLossSFT, RecordedGRPO, Score
from ranker.types import Fields, JsonObject

log = logging.getLogger("ranker.train")
RESERVE = 4_096
"""Prompts kept at hand for dead groups."""
SFT_SCHEDULE: JsonObject = {"lr_scheduler_type": "cosine", "warmup_steps": 0.05}
"""Of some thousand steps; `warmup_steps` is a share of them."""


def untrained(job: Job, heartbeat: Heartbeat) -> None:
    """Make the policy from scratch, or take a pretrained model or the champion as it is."""
    if phase_run.done(job, "untrained"):
        return
    if not distributed.leads():
        return distributed.wait()
    heartbeat.beat("building the policy")
    began = time.monotonic()
    begins = job.beginning
    model, tokenizer = policy.scratch(job) if begins == "scratch" else phase_run.load(begins)
    phase_run.save(
        job,
        "untrained",
        model,
        tokenizer,
        {"seconds": round(time.monotonic() - began, 1), "vocabulary": len(tokenizer)},
    )


def sft(job: Job, heartbeat: Heartbeat) -> None:
    """Cold start on the accepted traces: cross-entropy on the completion only (TRL's SFTTrainer)."""
    params = job.params.sft
    if phase_run.done(job, "sft"):
        return
    if not params.max_steps:
        return _as_before(job, "sft", "untrained")
    model, tokenizer, lora = phase_run.begun(job, "untrained")
    valid = validation.of(job, params)
    batch = params.batch(distributed.count())
    rows = weighted(job.table("sft"), job.params.weights, params.seed, params.max_steps * batch).to_dicts()
    fitting = Fitting(job.sets(), Renderer(tokenizer, job.params.policy.style, declared_ends(model)))
    made = tokenized(rows, fitting, job.params.policy.max_length, asked.beat(heartbeat, "SFT", len(rows)))
    asked.warn_of_cuts(fitting, "SFT")
    tokens = Dataset.from_list(made)
    data = tokens.select(batched_by_length(tokens["length"], batch, params.max_steps, params.seed))
    arguments = SFTConfig(
        **phase_run.shared(job, "sft", params) | SFT_SCHEDULE,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        **(validation.arguments(params) if valid else {}),
    )
    trainer = PlainLossSFT(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data.select([0]) if valid else None,  # wanted, never read: see Validating
        processing_class=tokenizer,
        peft_config=lora,
    )
    patience = job.params.early_stopping_patience
    validation.begin(trainer, valid, patience, lambda text: heartbeat.beat(f"SFT {text}"))
    facts = phase_run.train(trainer, job, "sft", heartbeat)
    _end(job, "sft", "untrained", trainer, facts | {"examples": len(tokens)} | fitting.facts, heartbeat)


def rl(job: Job, heartbeat: Heartbeat) -> None:
    """GRPO (TRL) on the true relevance; every rollout is recorded."""
    params = job.params.grpo
    if params.objective in ("expected", "gold"):
        return labels.rl(job, heartbeat)
    if phase_run.done(job, "rl"):
        return
    if not params.max_steps:
        return _as_before(job, "rl", "sft")
    model, tokenizer, lora = phase_run.begun(job, "sft")
    valid = validation.of(job, params)
    recorder = Recorder(
        job.folder / "rollouts",
        Origin("train", f"{job.key}/rl", "rl", params.seed),
        process=distributed.rank(),
    )
    fitting = Fitting(job.sets(), Renderer(tokenizer, job.params.policy.style, declared_ends(model)))
    budget = job.params.policy.max_length - params.max_completion_length
    batch = params.batch(distributed.count()) // params.num_generations
    rows = asked.prompts(job, fitting, budget, batch, heartbeat)
    asked.warn_of_cuts(fitting, "GRPO")
    order = asked.in_order(rows, batch, params)
    arguments = _grpo_arguments(job, valid)
    thoughts = Thoughts(fitting.renderer, params) if params.objective == "thought" else None
    score = thoughts.score if thoughts else _score(params, fitting.renderer)
    episodes = _episodes(fitting, params, budget, recorder.folder) if params.on_policy else None
    functions = (
        {thoughts.rewards(recorder): 1.0}
        if thoughts
        else _reward_functions(recorder, score, params, fitting.renderer.style)
    )
    arguments.reward_weights = list(functions.values())
    data = thoughts.begun(rows[order]) if thoughts else rows[order]
    prompts = Dataset.from_polars(data)
    trainer = RecordedGRPO(
        recorder,
        score,
        episodes,
        _reserve(rows, params) if params.resample else None,
        model=model,
        args=arguments,
        train_dataset=prompts,
        eval_dataset=prompts.select([0]) if valid else None,  # as in SFT
        processing_class=tokenizer,
        reward_funcs=list(functions),
        peft_config=lora,
    )
    if thoughts:
        thoughts.model = trainer.model
    patience = job.params.early_stopping_patience
    validation.begin(trainer, valid, patience, lambda text: heartbeat.beat(f"GRPO {text}"))
    facts = phase_run.train(trainer, job, "rl", heartbeat, [recorder, *([episodes] if episodes else [])])
    _end(job, "rl", "sft", trainer, facts | {"prompts": len(rows)} | fitting.facts, heartbeat)


def _grpo_arguments(job: Job, valid: validation.Validation | None) -> GRPOConfig:
    """TRL's, but for the weights of the rewards."""
    params = job.params.grpo
    return GRPOConfig(
        **phase_run.shared(job, "rl", params),
        **scale.grpo(params, job.params.policy.max_length),
        num_generations=params.num_generations,
        beta=params.beta,
        loss_type=params.loss_type,
        scale_rewards="group",
        temperature=1.0,  # what is optimised is the policy itself, not a sharper one
        top_p=1.0,
        top_k=0,
        max_completion_length=params.max_completion_length,
        shuffle_dataset=False,
        mask_truncated_completions=False,
        **_validating(params, valid),
    )


def _episodes(fitting: Fitting, params: GRPOParams, budget: int, folder: Path) -> Episodes:
    """This process's part of the pools that the policy reaches itself."""
    render = partial(_render, fitting.renderer, budget)
    return Episodes(fitting.sets, params.on_policy, render, params.seed, folder, distributed.rank())


def _reserve(rows: pl.DataFrame, params: GRPOParams) -> Reserve:
    """Prompts that take the place of those whose group has no spread."""
    drawn = rows.sample(min(len(rows), RESERVE), seed=params.seed).to_dicts()
    return Reserve(drawn, params.seed, distributed.rank(), params.resample)


def _validating(params: GRPOParams, valid: validation.Validation | None) -> JsonObject:
    """GRPOConfig's fields; TRL's own evaluation, which it checks them for, is not what runs."""
    if valid is None:
        return {}
    return validation.arguments(params, params.load_best_model_at_end) | {"num_generations_eval": 1}


def _end(job: Job, phase: str, start: str, trainer: Trainer, facts: JsonObject, heartbeat: Heartbeat) -> None:
    """Save what the phase ends with: its best checkpoint where it validated, or the start."""
    ended = validation.outcome(trainer)
    if ended.start:
        heartbeat.beat(f"{phase}: no checkpoint was better than the start, which is kept")
        return _as_before(job, phase, start, facts | ended.facts)
    keep = job.params.policy.keeps_adapters
    whole = scale.whole(trainer, job.model(start), phase_run.lora(job), keep)
    tokenizer = cast("PreTrainedTokenizerBase", trainer.processing_class)
    phase_run.save(job, phase, whole, tokenizer, facts | ended.facts)


def _as_before(job: Job, phase: str, start: str, facts: JsonObject | None = None) -> None:
    """Save a phase that ends with what it began with: a folder of adapters stays one."""
    folder = job.model(start)
    base = base_of(folder)
    model, tokenizer = phase_run.load(base or folder)
    if base is not None:
        model = adapted(model, folder)
    phase_run.save(job, phase, model, tokenizer, facts or {"seconds": 0.0, "steps": 0})


def _render(renderer: Renderer, budget: int, prompt: Prompt) -> str | None:
    try:
        return renderer.prompts([prompt], budget).texts[0]
    except UNREADABLE:
        return None


def _score(params: GRPOParams, renderer: Renderer) -> Score:
    def score(row: Row, ids: Sequence[int]) -> Rollout:
        cut = not ids or ids[-1] not in renderer.ends
        found = _rollout(row, renderer.text(ids, row["thinking"]), cut, params, renderer.style)
        length = length_penalty(len(ids), params.max_completion_length, params.length_weight)
        return replace(found, reward=replace(found.reward, length=length))

    return score


Function = Callable[..., list[float]]
"""As TRL calls it: a batch's columns by name → a reward for each completion."""


def _reward_functions(
    recorder: Recorder, score: Score, params: GRPOParams, style: Style
) -> dict[Function, float]:
    """What TRL is given, with the weights: the ranking, the grades of a compact reasoning, and the user's
    own. The first records the rollouts that the others read.
    """

    def ranking_reward(prompts: list[str], completion_ids: list, **columns: list) -> list[float]:
        """Score the response only: parse strictly, compare with the true relevance."""
        names = ("task", "set_id", "mode", "thinking", "pool", "relevance")
        for place, (prompt, ids) in enumerate(zip(prompts, completion_ids, strict=True)):
            row = {name: columns[name][place] for name in names} | {"prompt": prompt}
            recorder.pending.append(score(row, ids))
        earned = [rollout.reward for rollout in recorder.pending[-len(prompts) :]]
        return [one.format + one.task for one in earned]

    def trace_reward(prompts: list[str], **columns: list) -> list[float]:
        """How well the grades order the pool; the weight is in it already, as in the recorded steps."""
        return [rollout.reward.trace for rollout in recorder.pending[-len(prompts) :]]

    def length_reward(prompts: list[str], **columns: list) -> list[float]:
        """What an answer loses by its length; the weight is in it already."""
        return [rollout.reward.length for rollout in recorder.pending[-len(prompts) :]]

    shorter: dict[Function, float] = {length_reward: 1.0} if params.length_weight else {}
    graded: dict[Function, float] = {trace_reward: 1.0} if params.trace_weight and style == "compact" else {}
    own = {
        _own(named(path), path, recorder, params): weight for path, weight in sorted(params.rewards.items())
    }
    return {ranking_reward: 1.0} | graded | shorter | own


def _own(function: OwnReward, path: str, recorder: Recorder, params: GRPOParams) -> Function:
    """A user's reward as TRL calls it, under its own name in the curves."""

    def earned(prompts: list[str], completion_ids: list, **columns: list) -> list[float]:
        answers = [
            _answer(rollout, len(ids), params)
            for rollout, ids in zip(recorder.pending[-len(prompts) :], completion_ids, strict=True)
        ]
        found = [function(answer) for answer in answers]
        for value, answer in zip(found, answers, strict=True):
            if not math.isfinite(value):
                raise BadConfig(
                    "a reward is a finite number",
                    seen=f"{value} from {path} for {answer.text[:200]!r}",
                    remedy="mend the function",
                )
        return found

    earned.__name__ = path.rpartition(".")[2]
    return earned


def _answer(rollout: Rollout, tokens: int, params: GRPOParams) -> Answer:
    row = rollout.row
    return Answer(
        rollout.completion,
        rollout.action,
        row["mode"],
        row["thinking"],
        _worth(row, params),
        tokens,
        params.max_completion_length,
    )


def _worth(row: Fields, params: GRPOParams) -> dict[str, float]:
    """What a candidate is worth: its relevance, or to the blind control its place."""
    if params.reward == "blind":
        return shown_order(row["pool"])
    return dict(zip(row["pool"], row["relevance"], strict=True))


def _rollout(row: Row, text: str, cut: bool, params: GRPOParams, style: Style) -> Rollout:
    action = parse(text, row["pool"], row["mode"], row["thinking"], cut)
    worth = _worth(row, params)
    earned = reward(action, worth, row["mode"], params.exclusion)
    if row["thinking"] and action.valid and params.trace_weight and style == "compact":
        graded = trace_reward(grades(text, row["pool"]), worth)
        earned = replace(earned, trace=params.trace_weight * graded)
    return Rollout(cast("Asked", row), row["prompt"], text, action, earned)
