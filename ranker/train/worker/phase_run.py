"""One phase of training, whatever the policy and its trainer: whether it is done, its run from the last
complete checkpoint, and the folder that it leaves.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import polars as pl
import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from ranker.config import GRPOParams, LikelihoodParams, SFTParams
from ranker.engines import base_of
from ranker.engines.transformers import adapted, load_model, load_tokenizer
from ranker.train import curves
from ranker.train.worker import checkpoints, distributed, scale
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.progress import CurveFile, HeartbeatCallback
from ranker.train.worker.recorder import Recorder
from ranker.train.worker.rollouts import Episodes
from ranker.types import JsonObject

log = logging.getLogger("ranker.train")


WARMUP_STEPS = 10


def shared(job: Job, phase: str, params: SFTParams | GRPOParams | LikelihoodParams) -> JsonObject:
    """Arguments that every phase gives its trainer, by TrainingArguments' names; for SFT of a policy that
    writes, `phases` has another schedule.
    """
    return {
        "output_dir": str(job.folder / phase),
        "max_steps": params.max_steps,
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(WARMUP_STEPS, params.max_steps // 10),
        "adam_beta2": 0.98,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": params.seed,
        "save_steps": params.save_steps,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "logging_steps": 5,
        "report_to": list(job.params.report_to),
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "remove_unused_columns": False,
        **scale.arguments(job.params, phase),
    }


def train(
    trainer: Trainer,
    job: Job,
    phase: str,
    heartbeat: Heartbeat,
    kept: Sequence[Recorder | Episodes] = (),
) -> JsonObject:
    """Train to the end, from the last complete checkpoint where there is one; the facts of the run.

    Args:
        kept: what is written as steps go by, brought to the step from which the run goes on.

    Raises:
        RuntimeError: the trainer ended early, and not because validation told it to.
    """
    resume, step = checkpoints.latest(job.folder / phase, distributed.leads())
    distributed.wait()  # the first process has taken away what is not complete
    curve = CurveFile(curves.path(job.folder, phase))
    if distributed.leads():
        curve.start(step)
    trainer.add_callback(curve)
    for part in kept:
        part.start(step)

    def flush(step: int) -> None:
        for part in kept:
            part.flush(step)

    rl = "RL" if job.params.policy.style == "likelihood" else "GRPO"
    trainer.add_callback(HeartbeatCallback(heartbeat, {"sft": "SFT", "rl": rl}[phase]))
    if job.params.snapshots:
        described = manifest(job, phase, scale.bare(trainer.model), {})
        trainer.add_callback(
            checkpoints.Snapshots(
                job.params.snapshots,
                job.model(phase),
                cast("PreTrainedTokenizerBase", trainer.processing_class),
                described,
                partial(scale.gathered, trainer),
            )
        )
    trainer.add_callback(checkpoints.MarkComplete(flush))
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    stopped = job.params.early_stopping_patience and trainer.control.should_training_stop
    if trainer.state.global_step != trainer.args.max_steps and not stopped:
        raise RuntimeError(f"{phase} ended at step {trainer.state.global_step} of {trainer.args.max_steps}")
    flush(trainer.state.global_step)
    if distributed.leads():
        _metrics(trainer.state.log_history, phase).write_parquet(job.folder / f"metrics-{phase}.parquet")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "steps": trainer.state.global_step,
        "resumed_from": step,
        "device": trainer.accelerator.device.type,
        "precision": trainer.accelerator.mixed_precision,
        "processes": distributed.count(),
        "fingerprints": scale.fingerprints(trainer),
    }


def _metrics(history: Sequence[JsonObject], phase: str) -> pl.DataFrame:
    rows = [
        {"phase": phase, "step": entry["step"], "name": name, "value": float(value)}
        for entry in history
        for name, value in entry.items()
        if name != "step" and isinstance(value, int | float)
    ]
    frame = pl.DataFrame(
        rows, schema={"phase": pl.String, "step": pl.Int32, "name": pl.String, "value": pl.Float64}
    )
    return frame.unique(
        ["phase", "step", "name"], keep="last", maintain_order=True
    )  # the closing summary repeats what the last step logged


def load(folder: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with float32 master weights (bfloat16 alone loses small updates), and its tokenizer."""
    return load_model(folder, float32=True), load_tokenizer(folder)


def begun(job: Job, start: str) -> tuple[Any, PreTrainedTokenizerBase, LoraConfig | None]:
    """What a phase trains: the model of `start` with its tokenizer, and the adapters that are still to be put
    on it. Those that an earlier phase has trained go on, on the weights that they belong to.

    What adapters leave as it is needs no float32: it is held as arithmetic reads it, in bfloat16 or in 4
    bits.
    """
    folder, wanted = job.model(start), lora(job)
    base = base_of(folder) or folder
    if job.params.policy.load_in_4bit:
        model = scale.in_4bit(base)
    else:
        model = load_model(base, float32=True)
        if wanted and scale.holds_bfloat16(job.params):
            model = cast("Any", model).to(torch.bfloat16)
    if base != folder:
        model, wanted = adapted(model, folder, train=True), None
    return model, load_tokenizer(folder), wanted


def lora(job: Job) -> LoraConfig | None:
    """Adapters on every linear layer, where the job asks for them."""
    rank = job.params.policy.lora_r
    return (
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        if rank
        else None
    )


def done(job: Job, phase: str) -> bool:
    """Whether the phase's folder is complete, as all processes see it."""
    return distributed.agreed(checkpoints.is_complete(job.model(phase)))


def save(
    job: Job,
    phase: str,
    model: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    facts: JsonObject,
    fitted: JsonObject | None = None,
) -> None:
    """By the first process (the only one that must have the model); the others wait for the folder that
    they load next.
    """
    if distributed.leads() and model is not None:
        _write(job, phase, model, tokenizer, facts, fitted or {})
    distributed.wait()


def _write(
    job: Job,
    phase: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: JsonObject,
    fitted: JsonObject,
) -> None:
    checkpoints.save(job.model(phase), model, tokenizer, manifest(job, phase, model, facts) | fitted)
    shutil.rmtree(
        job.folder / phase, ignore_errors=True
    )  # checkpoints: gigabytes, and nothing goes on from them
    log.info("%s: saved (%s)", phase, facts)


def manifest(job: Job, phase: str, model: PreTrainedModel, facts: JsonObject) -> JsonObject:
    """What is written beside a phase's weights (`ranker.json`)."""
    base = getattr(model, "name_or_path", "") if isinstance(model, PeftModel) else ""
    return {
        **({"adapter_of": os.path.relpath(base, job.model(phase))} if base else {}),
        "phase": phase,
        "train_key": job.key,
        "phase_key": job.phase_keys.get(phase, ""),
        "style": job.params.policy.style,
        "tasks": list(job.tasks),
        "parameters": scale.bare(model).num_parameters(),
        "policy": job.params.policy.model_dump(mode="json"),
        "facts": facts,
    }


def threads(job: Job) -> None:
    """torch's own number of threads, unless the job says another."""
    if job.params.threads:
        torch.set_num_threads(job.params.threads)
