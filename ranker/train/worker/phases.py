"""The phases of training. One code path for a policy made from scratch and for a pretrained chat model."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from ranker.engines.transformers import load_model, load_tokenizer
from ranker.episodes import Origin
from ranker.parsing import parse
from ranker.rewards import reward
from ranker.train.worker import checkpoints, policy
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Recorder, Rollout
from ranker.train.worker.vitals import Heartbeat, Vitals

log = logging.getLogger("ranker.train")
MAP_BATCH = 2_000


def untrained(job: Job, vitals: Vitals) -> None:
    """Make the policy from scratch, or take a pretrained model's folder as it is."""
    _threads(job)
    target = job.model("untrained")
    if checkpoints.is_complete(target):
        return
    vitals.beat("building the policy")
    began = time.monotonic()
    model, tokenizer = policy.scratch(job) if job.params.policy.source == "scratch" else _pretrained(job)
    _save(job, "untrained", model, tokenizer, {"seconds": round(time.monotonic() - began, 1), "vocabulary": len(tokenizer)})


def sft(job: Job, vitals: Vitals) -> None:
    """Cold start on the accepted traces: cross-entropy on the completion only (TRL's SFTTrainer)."""
    params = job.params.sft
    if checkpoints.is_complete(job.model("sft")):
        return
    model, tokenizer = _load(job.model("untrained"))
    if not params.steps:
        return _save(job, "sft", model, tokenizer, {"seconds": 0.0, "steps": 0})
    vitals.beat("SFT: tokenizing traces")
    rows = _weighted(job.table("sft"), job.params.weights, params.seed)
    data = Dataset.from_polars(rows).map(_tokenize, batched=True, batch_size=MAP_BATCH, remove_columns=rows.columns,
                                         fn_kwargs={"tokenizer": tokenizer, "context": job.params.policy.context})
    arguments = SFTConfig(
        **_shared(job, "sft", params), per_device_train_batch_size=params.batch, warmup_steps=int(params.warmup * params.steps),
        lr_scheduler_type="cosine", adam_beta2=0.98, weight_decay=0.0, max_grad_norm=1.0, train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True}, max_length=None, packing=False, remove_unused_columns=False,
    )
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer, peft_config=_lora(job))
    facts = _train(trainer, job, "sft", vitals)
    _save(job, "sft", _merged(trainer), tokenizer, facts | {"examples": len(data)})


def rl(job: Job, vitals: Vitals) -> None:
    """GRPO (TRL) on the true relevance; every rollout is recorded."""
    params = job.params.grpo
    if checkpoints.is_complete(job.model("rl")):
        return
    model, tokenizer = _load(job.model("sft"))
    if not params.steps:
        return _save(job, "rl", model, tokenizer, {"seconds": 0.0, "steps": 0})
    vitals.beat("GRPO: preparing prompts")
    recorder = Recorder(job.folder / "rollouts", Origin("train", f"{job.key}/rl", "rl", params.seed), process=int(os.environ.get("RANK", "0")))
    rows = _weighted(job.table("rl"), job.params.weights, params.seed)
    arguments = GRPOConfig(
        **_shared(job, "rl", params), per_device_train_batch_size=params.batch, num_generations=params.generations, beta=params.beta,
        loss_type=params.loss_type, scale_rewards=params.scale_rewards, temperature=params.temperature, top_p=1.0, top_k=0,
        max_completion_length=params.max_completion, lr_scheduler_type="constant_with_warmup", warmup_steps=min(10, params.steps // 10),
        adam_beta2=0.98, weight_decay=0.0, max_grad_norm=1.0, remove_unused_columns=False, mask_truncated_completions=False,
    )
    trainer = RecordedGRPO(recorder, model=model, args=arguments, train_dataset=Dataset.from_polars(rows), processing_class=tokenizer,
                           reward_funcs=_reward_function(recorder, params.exclusion, tokenizer.eos_token_id), peft_config=_lora(job))
    facts = _train(trainer, job, "rl", vitals, recorder)
    _save(job, "rl", _merged(trainer), tokenizer, facts | {"prompts": len(rows)})


class RecordedGRPO(GRPOTrainer):
    """TRL's trainer, with its rollouts handed to a recorder once their advantages are known."""

    def __init__(self, recorder: Recorder, **kwargs: Any) -> None:
        self.recorder = recorder
        super().__init__(**kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        began = time.perf_counter()
        output = super()._generate_and_score_completions(inputs)
        self.recorder.settle(self.state.global_step, output["prompt_mask"].sum(1).tolist(), output["completion_mask"].sum(1).tolist(),
                             output["advantages"].tolist(), (time.perf_counter() - began) * 1000)
        return output


def _reward_function(recorder: Recorder, exclusion: str, end: int) -> Any:
    def ranking_reward(prompts: list, completions: list, completion_ids: list, **columns: list) -> list[float]:
        """Score the response only: parse strictly, compare with the true relevance."""
        names = ("task", "set_id", "mode", "thinking", "pool", "relevance")
        for place, completion in enumerate(completions):
            row = {name: columns[name][place] for name in names}
            recorder.pending.append(_rollout(row, prompts[place], completion, completion_ids[place][-1:] != [end], exclusion))
        return [rollout.reward.total for rollout in recorder.pending[-len(completions):]]

    return ranking_reward


def _rollout(row: dict[str, Any], prompt: list[dict[str, str]], completion: list[dict[str, str]], cut: bool, exclusion: Any) -> Rollout:
    text = completion[-1]["content"].strip()
    action = parse(text, row["pool"], row["mode"], row["thinking"], cut)
    earned = reward(action, dict(zip(row["pool"], row["relevance"], strict=True)), row["mode"], exclusion)
    return Rollout(row, prompt[-1]["content"], text, action, earned)


# --- shared by the phases -----------------------------------------------------------------------------------------


def _shared(job: Job, phase: str, params: Any) -> dict[str, Any]:
    pretrained_on_gpu = torch.cuda.is_available() and job.params.device != "cpu"
    return {
        "output_dir": str(job.folder / phase), "max_steps": params.steps, "learning_rate": params.learning_rate, "seed": params.seed,
        "save_steps": params.save_every, "save_strategy": "steps", "save_total_limit": 2, "logging_steps": 5, "report_to": [], "disable_tqdm": True,
        "use_cpu": not pretrained_on_gpu, "bf16": pretrained_on_gpu, "gradient_checkpointing": False, "dataloader_num_workers": 0,
        "dataloader_pin_memory": pretrained_on_gpu,
    }


def _train(trainer: Trainer, job: Job, phase: str, vitals: Vitals, recorder: Recorder | None = None) -> dict[str, Any]:
    resume, step = checkpoints.latest(Path(trainer.args.output_dir))
    if recorder is not None:
        recorder.start(step)
    trainer.add_callback(Heartbeat(vitals, "GRPO" if phase == "rl" else "SFT"))
    trainer.add_callback(checkpoints.MarkComplete(recorder.flush if recorder else lambda step: None))
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.state.global_step != job_steps(trainer.args):
        raise RuntimeError(f"{phase} ended at step {trainer.state.global_step} of {job_steps(trainer.args)}")
    if recorder is not None:
        recorder.flush(trainer.state.global_step)
    _metrics(trainer.state.log_history, phase).write_parquet(job.folder / f"metrics-{phase}.parquet")
    return {"seconds": round(time.monotonic() - began, 1), "steps": trainer.state.global_step, "resumed_from": step}


def job_steps(arguments: TrainingArguments) -> int:
    """Optimizer steps that a run must end at."""
    return int(arguments.max_steps)


def _metrics(history: Sequence[dict[str, Any]], phase: str) -> pl.DataFrame:
    rows = [{"phase": phase, "step": entry["step"], "name": name, "value": float(value)} for entry in history for name, value in entry.items()
            if name != "step" and isinstance(value, int | float)]
    return pl.DataFrame(rows, schema={"phase": pl.String, "step": pl.Int32, "name": pl.String, "value": pl.Float64})


def _weighted(rows: pl.DataFrame, weights: dict[str, float], seed: int) -> pl.DataFrame:
    """Rows resampled so that each task's share follows its weight; tasks count alike where no weight is given."""
    parts = rows.partition_by("task", maintain_order=True)
    largest = max(len(part) / weights.get(part["task"][0], 1.0) for part in parts)
    drawn = []
    for part in parts:
        n = round(largest * weights.get(part["task"][0], 1.0))
        repeats = [part.sample(fraction=1.0, shuffle=True, seed=seed + i) for i in range(-(-n // len(part)))]
        drawn.append(pl.concat(repeats).head(n))
    return pl.concat(drawn).sample(fraction=1.0, shuffle=True, seed=seed)


def _tokenize(rows: dict[str, list], tokenizer: PreTrainedTokenizerBase, context: int) -> dict[str, list]:
    asked = [[{"role": "user", "content": prompt}] for prompt in rows["prompt"]]
    heads = [str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)) for prompt in asked]
    prompts = tokenizer(heads, add_special_tokens=False)["input_ids"]
    answers = tokenizer(rows["completion"], add_special_tokens=False)["input_ids"]
    ids, labels = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        whole = [*prompt, *answer, tokenizer.eos_token_id]
        if len(whole) <= context:  # prompts are fitted before distillation; what still exceeds the context cannot be learned from
            ids.append(whole)
            labels.append([-100] * len(prompt) + whole[len(prompt):])
    return {"input_ids": ids, "labels": labels, "attention_mask": [[1] * len(whole) for whole in ids], "length": [len(whole) for whole in ids]}


def _pretrained(job: Job) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    source = job.params.policy.source
    folder = job.home / source
    return _load(folder if folder.exists() else source)


def _load(folder: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(folder).float(), load_tokenizer(folder)  # float32 master weights: bfloat16 alone loses small updates


def _lora(job: Job) -> LoraConfig | None:
    rank = job.params.policy.lora_rank
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM") if rank else None


def _merged(trainer: Trainer) -> PreTrainedModel:
    model = trainer.accelerator.unwrap_model(trainer.model)
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _save(job: Job, phase: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, facts: dict[str, Any]) -> None:
    if int(os.environ.get("RANK", "0")):
        return
    manifest = {"phase": phase, "train_key": job.key, "style": job.params.policy.style, "tasks": list(job.tasks), "parameters": model.num_parameters(),
                "policy": job.params.policy.model_dump(mode="json"), "facts": facts}
    checkpoints.save(job.model(phase), model, tokenizer, manifest)
    log.info("%s: saved (%s)", phase, facts)


def _threads(job: Job) -> None:
    if job.params.threads:
        torch.set_num_threads(job.params.threads)
