"""What the size of a run changes: precision, batches by process, vLLM, and models that no single process
holds whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel, Trainer

from ranker.config import GRPOParams, TrainParams
from ranker.engines import base_of
from ranker.engines.transformers import computes_bfloat16, load_model
from ranker.train.parallel import bf16
from ranker.train.worker import distributed
from ranker.types import Fields, JsonObject

EPSILON = 0.2
"""Clip range of the importance ratio (Schulman et al. 2017, arXiv 1707.06347, and TRL)."""
SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


def on_gpu(params: TrainParams) -> bool:
    """Whether this process trains on a GPU."""
    return (
        torch.cuda.is_available()
        and not params.use_cpu
        and os.environ.get("ACCELERATE_USE_CPU", "false").lower() != "true"
    )


def in_bf16(params: TrainParams) -> bool:
    """Whether this process computes in bfloat16: where that is asked for, and a processor does not have to
    emulate it. On one without (AVX2) a step of SmolLM2 took minutes. Nobody else says it: accelerate's
    launcher is told "no", which TrainingArguments overrules.
    """
    gpu = on_gpu(params)
    return bf16(params, gpu) and (gpu or computes_bfloat16())


def arguments(params: TrainParams, phase: str) -> JsonObject:
    """TrainingArguments that follow from the size of the run.

    bf16 is autocast over float32 weights, on a CPU too where that multiplies in it.
    """
    gpu = on_gpu(params)
    own = params.of(phase)
    return {
        "per_device_train_batch_size": own.per_device_train_batch_size,
        "gradient_accumulation_steps": own.gradient_accumulation_steps,
        "use_cpu": not gpu,
        "bf16": in_bf16(params),
        "gradient_checkpointing": params.gradient_checkpointing,
        "dataloader_pin_memory": gpu,
    }


def grpo(params: GRPOParams, max_length: int) -> JsonObject:
    """GRPOConfig's fields for reused completions, clipping and vLLM."""
    names = ["num_iterations", "epsilon_high", "importance_sampling_level", "use_vllm"]
    if params.use_vllm:
        names += ["vllm_mode"]
        if params.vllm_mode == "colocate":
            names += ["vllm_gpu_memory_utilization"]
        else:
            names += ["vllm_server_base_url"]
    given = {name: getattr(params, name) for name in names} | {"epsilon": EPSILON}
    if params.use_vllm:
        given["vllm_max_model_length"] = max_length
    if params.colocates:
        given["vllm_enable_sleep_mode"] = True  # its memory is the trainer's while weights are updated
    return given


def whole(
    trainer: Trainer, start: Path, lora: LoraConfig | None, keep_adapters: bool = False
) -> PreTrainedModel | None:
    """The trained model, adapters merged unless they are kept; where FSDP or DeepSpeed hold it in parts,
    gathered (None but in the first process).

    Args:
        start: the folder from which this phase began; a gathered model is built anew from it.
    """
    end: Callable[[Any], PreTrainedModel] = (lambda model: model) if keep_adapters else merged
    state = gathered(trainer)
    if state is None:
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        rounded = lora is not None and next(bare(model).parameters()).dtype != torch.float32
        return end(exact(model, start, lora) if lora and rounded and not keep_adapters else model)
    return end(rebuilt(state, start, lora)) if distributed.leads() else None


def gathered(trainer: Trainer) -> JsonObject | None:
    """The state dict of a model that FSDP or DeepSpeed hold in parts, whole in the first process; all take
    part. None where every process holds the model whole.
    """
    if trainer.accelerator.distributed_type not in SHARDED:
        return None
    return trainer.accelerator.get_state_dict(trainer.model)


def fingerprints(trainer: Trainer) -> list[str]:
    """A digest of the weights that each process holds whole, by rank; none where the model lies in parts, or
    in one process.

    Raises:
        RuntimeError: they differ, so that the processes have not trained one model.
    """
    if distributed.count() == 1 or trainer.accelerator.distributed_type in SHARDED:
        return []
    digest = hashlib.sha256()
    for value in trainer.accelerator.unwrap_model(trainer.model).state_dict().values():
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    found = gather_object([digest.hexdigest()[:16]])
    if len(set(found)) > 1:
        raise RuntimeError(f"the processes hold different weights after training: {found}")
    return found


def exact(model: Any, start: Path, lora: LoraConfig) -> Any:
    """The adapters of `model` on the weights of `start` in float32: merged into those that were held in fewer
    bits, they would lose their own low ones.
    """
    whole = get_peft_model(load_model(start, float32=True), lora)
    set_peft_model_state_dict(whole, get_peft_model_state_dict(model))
    return whole


def holds_bfloat16(params: TrainParams) -> bool:
    """Whether weights that are not trained are held in bfloat16: autocast would read them so at every step.

    FSDP shards a layer's weights together, and wants them of one kind.
    """
    return distributed.count() == 1 and in_bf16(params)


def in_4bit(folder: Path) -> PreTrainedModel:
    """The model of a folder in NF4, with arithmetic in bfloat16 (Dettmers et al. 2023, arXiv 2305.14314)."""
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16)


def rebuilt(state: Fields, start: Path, lora: LoraConfig | None) -> PreTrainedModel:
    """The model of folder `start` (with adapters where there were some) with the weights of `state`."""
    model: Any = load_model(base_of(start) or start, float32=True)
    if lora is not None:
        model = get_peft_model(model, lora)
    # TRL's copy of adapters that are trained on, from which it takes the KL divergence, is no part of it
    kept = {name: value for name, value in state.items() if ".ref." not in name}
    missing, unexpected = model.load_state_dict(kept, strict=False)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    lost = [name for name in missing if name.split("base_model.model.")[-1] not in tied]
    if lost or unexpected:
        raise RuntimeError(
            f"the gathered weights do not fit the model in {start}: missing {lost[:3]}, unexpected"
            f" {list(unexpected)[:3]}"
        )
    return model


def merged(model: Any) -> PreTrainedModel:
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def bare(model: torch.nn.Module | None) -> PreTrainedModel:
    """The causal LM itself; LoRA's layers stay in place inside it."""
    own: Any = model.module if isinstance(model, DistributedDataParallel) else model
    return own.get_base_model() if hasattr(own, "get_base_model") else own


@contextmanager
def bfloat16(model: torch.nn.Module) -> Iterator[None]:
    """The model with bf16 copies in place of its float32 weights, for as long as it generates.

    TRL generates with the weights as they are, outside of autocast. 64 prompts of 562 tokens and a policy of
    3B on an H200: 4.5 s for the prompts and 49 ms for each token in float32, 0.45 s and 24 ms with copies;
    under autocast 0.47 s and 60 ms, as it converts all weights again for every token.
    """
    kept = [(weight, weight.data) for weight in model.parameters() if weight.dtype == torch.float32]
    try:
        for weight, data in kept:
            weight.data = data.bfloat16()
        yield
    finally:
        for weight, data in kept:
            weight.data = data
