"""The phases of training a policy that writes its answers: one made from scratch, or a pretrained chat model.
Those of a likelihood policy: likelihood.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import polars as pl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from ranker.config import GRPOParams
from ranker.policy.parsing import grades, parse
from ranker.policy.prompts import Message
from ranker.policy.rewards import reward, shown_order, trace_reward
from ranker.strategies.episodes import Origin
from ranker.train.worker import distributed, phase_run, policy, scale
from ranker.train.worker.data import batched_by_length, growing, tokenize, weighted
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Asked, Recorder, Rollout
from ranker.train.worker.rollouts import Episodes, Reserve, Row
from ranker.train.worker.trainers import PlainLossSFT, RecordedGRPO, Score

log = logging.getLogger("ranker.train")
MAP_BATCH = 2_000
RESERVE = 4_096
"""Prompts kept at hand for dead groups."""


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
    model, tokenizer = phase_run.load(job.model("untrained"))
    if not params.max_steps:
        return phase_run.save(job, "sft", model, tokenizer, {"seconds": 0.0, "steps": 0})
    heartbeat.beat("SFT: tokenizing traces")
    batch = params.batch(distributed.count())
    rows = weighted(job.table("sft"), job.params.weights, params.seed, params.max_steps * batch)
    tokens = Dataset.from_polars(rows).map(
        tokenize,
        batched=True,
        batch_size=MAP_BATCH,
        remove_columns=rows.columns,
        fn_kwargs={"tokenizer": tokenizer, "context": job.params.policy.max_length},
    )
    data = tokens.select(batched_by_length(tokens["length"], batch, params.max_steps, params.seed))
    arguments = SFTConfig(
        **phase_run.shared(job, "sft", params),
        warmup_steps=params.warmup_steps,
        lr_scheduler_type="cosine",
        adam_beta2=0.98,
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        remove_unused_columns=False,
    )
    trainer = PlainLossSFT(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=phase_run.lora(job),
    )
    facts = phase_run.train(trainer, job, "sft", heartbeat)
    phase_run.save(
        job,
        "sft",
        scale.whole(trainer, job.model("untrained"), phase_run.lora(job)),
        tokenizer,
        facts | {"examples": len(tokens)},
    )


def rl(job: Job, heartbeat: Heartbeat) -> None:
    """GRPO (TRL) on the true relevance; every rollout is recorded."""
    params = job.params.grpo
    if phase_run.done(job, "rl"):
        return
    start = job.model("sft")
    model, tokenizer = phase_run.load(start)
    if not params.max_steps:
        return phase_run.save(job, "rl", model, tokenizer, {"seconds": 0.0, "steps": 0})
    heartbeat.beat("GRPO: preparing prompts")
    recorder = Recorder(
        job.folder / "rollouts",
        Origin("train", f"{job.key}/rl", "rl", params.seed),
        process=distributed.rank(),
    )
    rows = weighted(job.table("rl"), job.params.weights, params.seed)
    order = _order(rows, params.batch(distributed.count()) // params.num_generations, params)
    arguments = GRPOConfig(
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
        lr_scheduler_type="linear",
        warmup_steps=min(10, params.max_steps // 10),
        adam_beta2=0.98,
        weight_decay=0.0,
        max_grad_norm=1.0,
        shuffle_dataset=False,
        remove_unused_columns=False,
        mask_truncated_completions=False,
    )
    score = _score(params, tokenizer)
    episodes = (
        Episodes(
            job.sets(),
            params.on_policy,
            job.params.policy.style,
            params.seed,
            recorder.folder,
            distributed.rank(),
        )
        if params.on_policy
        else None
    )
    reserve = (
        Reserve(
            rows.sample(min(len(rows), RESERVE), seed=params.seed).to_dicts(),
            params.seed,
            distributed.rank(),
            params.resample,
        )
        if params.resample
        else None
    )
    trainer = RecordedGRPO(
        recorder,
        score,
        episodes,
        reserve,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(rows[order]),
        processing_class=tokenizer,
        reward_funcs=_reward_function(recorder, score),
        peft_config=phase_run.lora(job),
    )
    facts = phase_run.train(trainer, job, "rl", heartbeat, [recorder, *([episodes] if episodes else [])])
    phase_run.save(
        job, "rl", scale.whole(trainer, start, phase_run.lora(job)), tokenizer, facts | {"prompts": len(rows)}
    )


def _order(rows: pl.DataFrame, batch: int, params: GRPOParams) -> list[int]:
    lengths = [len(prompt[-1]["content"]) for prompt in rows["prompt"]]
    allowed = (
        growing(rows["pool"].list.len().to_list(), params.curriculum, params.max_steps)
        if params.curriculum
        else None
    )
    return batched_by_length(lengths, batch, params.max_steps, params.seed, allowed)


def _score(params: GRPOParams, tokenizer: PreTrainedTokenizerBase) -> Score:
    def score(row: Row, prompt: list[Message], completion: list[Message], ids: Sequence[int]) -> Rollout:
        rendered = str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))
        cut = list(ids[-1:]) != [tokenizer.eos_token_id]
        return _rollout(row, rendered, completion, cut, params)

    return score


def _reward_function(recorder: Recorder, score: Score) -> Any:
    def ranking_reward(
        prompts: list, completions: list, completion_ids: list, **columns: list
    ) -> list[float]:
        """Score the response only: parse strictly, compare with the true relevance."""
        names = ("task", "set_id", "mode", "thinking", "pool", "relevance")
        for place, completion in enumerate(completions):
            row = {name: columns[name][place] for name in names}
            recorder.pending.append(score(row, prompts[place], completion, completion_ids[place]))
        return [rollout.reward.total for rollout in recorder.pending[-len(completions) :]]

    return ranking_reward


def _rollout(
    row: Row,
    prompt: str,
    completion: list[Message],
    cut: bool,
    params: GRPOParams,
) -> Rollout:
    text = completion[-1]["content"].strip()
    action = parse(text, row["pool"], row["mode"], row["thinking"], cut)
    relevance = (
        shown_order(row["pool"])
        if params.reward == "blind"
        else dict(zip(row["pool"], row["relevance"], strict=True))
    )
    earned = reward(action, relevance, row["mode"], params.exclusion)
    if row["thinking"] and action.valid and params.trace_weight:
        earned = replace(
            earned, trace=params.trace_weight * trace_reward(grades(text, row["pool"]), relevance)
        )
    return Rollout(cast("Asked", row), prompt, text, action, earned)
