"""How many processes train, on how many machines, and what they share: read from accelerate's configuration.
Imports no torch.

A process holds per_device_train_batch_size examples at once; an optimizer step has as many as that times
gradient_accumulation_steps times processes. Where GRPO's groups would be cut, training is refused before it
starts.
"""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from ranker.config import GRPOParams, TrainParams
from ranker.errors import BadConfig
from ranker.resources import shipped
from ranker.types import JsonObject

FOLDER = shipped("train", "accelerate")
Sharding = Literal["none", "ddp", "fsdp", "zero2", "zero3"]


@dataclass(frozen=True, slots=True)
class Parallel:
    """The processes of a training run.

    `file` is accelerate's configuration; None runs one process without any.
    """

    file: Path | None = None
    processes: int = 1
    machines: int = 1
    sharding: Sharding = "none"
    cpu: bool | None = None
    """Whether the configuration asks for CPU processes; None where there is none to ask."""

    @property
    def shards(self) -> int:
        """Parts into which gradients and optimizer states are cut."""
        return self.processes if self.sharding in ("fsdp", "zero2", "zero3") else 1


def names() -> list[str]:
    """Names of the shipped configurations."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(params: TrainParams) -> Parallel:
    """The processes that `train.accelerate_config` (a shipped name, a file, or nothing) asks for.

    Raises:
        BadConfig: neither a shipped name nor a file; not YAML; no number of processes; no address where
        machines meet.
    """
    if not params.accelerate_config:
        return Parallel()
    shipped = FOLDER / f"{params.accelerate_config}.yaml"
    file = shipped if shipped.is_file() else Path(params.accelerate_config).expanduser().resolve()
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
        found = Parallel(
            file,
            int(given["num_processes"]),
            int(given.get("num_machines", 1)),
            _sharding(given),
            bool(given.get("use_cpu", False)),
        )
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise BadConfig(
            "train.accelerate_config is a shipped name or a file for `accelerate launch`",
            seen=f"{params.accelerate_config!r}: {error!r}"[:300],
            remedy=(
                f"choose one of {', '.join(names())}, or give the path of a file that `accelerate config`"
                " wrote"
            ),
        ) from error
    if found.machines > 1 and ":" not in params.main_address:
        raise BadConfig(
            "several machines need an address where they meet",
            seen=f"train.main_address = {params.main_address!r}, {found.machines} machines",
            remedy="set train.main_address to host:port of the first machine, e.g. 10.0.0.1:29500",
        )
    return found


def bf16(params: TrainParams, gpu: bool) -> bool:
    """Whether arithmetic is asked to be bf16; on a CPU without it the worker computes in float32 all the
    same. Unless the parameters say so it is for a pretrained model on a GPU; a policy from scratch trains in
    float32 everywhere.

    Its attention is sharp (scores of hundreds in the start that answers): in bf16 its SFT loss was higher on
    a GPU, and GRPO stopped at probabilities that were not numbers after 50 steps (docs/scale.md). The engine
    runs a model so small in float32 as well.
    """
    if params.bf16 is not None:
        return params.bf16
    return gpu and params.policy.model_name_or_path != "scratch"


def _sharding(given: JsonObject) -> Sharding:
    kind = str(given.get("distributed_type", "NO"))
    if kind == "DEEPSPEED":
        stage = int((given.get("deepspeed_config") or {}).get("zero_stage", 2))
        if stage not in (2, 3):
            raise ValueError(f"zero_stage {stage}: 2 and 3 are supported")
        return "zero3" if stage == 3 else "zero2"
    if kind == "FSDP":
        return "fsdp"
    return "ddp" if int(given["num_processes"]) > 1 else "none"


def check(params: TrainParams) -> Parallel:
    """Refuse what cannot train, before anything is exported or a GPU is reserved.

    Raises:
        BadConfig: see `read`, `check_groups`; vLLM where there is no GPU or no vllm; weights in 4 bits
            without bitsandbytes, or where they cannot be; a tracker that is not installed.
    """
    found = read(params)
    check_groups(params.grpo, found.processes)
    if params.grpo.max_steps and params.grpo.use_vllm:
        _check_vllm(params, found)
    for tracker in params.report_to:
        _check_tracker(tracker)
    if params.policy.load_in_4bit:
        _check_4bit(params, found)
    return found


def check_groups(params: GRPOParams, processes: int) -> None:
    """Refuse a step that cuts a group of completions: between steps, and between processes where pools are
    exchanged by group, in the process that generates for it.

    Raises:
        BadConfig: with the nearest size that cuts none.
    """
    whole = 1 if params.on_policy or params.resample else processes
    passes, size = params.gradient_accumulation_steps * whole, params.per_device_train_batch_size
    if not params.max_steps or passes * size % params.num_generations == 0:
        return
    least = params.num_generations // math.gcd(params.num_generations, passes)
    held = "every process holds" if whole < processes else "a step takes"
    raise BadConfig(
        f"{held} whole groups of train.grpo.num_generations completions",
        seen=(
            f"{size} per device × {params.gradient_accumulation_steps} passes × {processes} processes,"
            f" {params.num_generations} generations"
            + (", with on_policy or resample" if whole < processes else "")
        ),
        remedy=f"set train.grpo.per_device_train_batch_size to {max(1, round(size / least)) * least}",
    )


def _check_vllm(params: TrainParams, found: Parallel) -> None:
    rule, remedy = (
        "vLLM rollouts need a CUDA GPU and the package vllm",
        "set train.grpo.use_vllm = false, or run where both are (pip install 'r1-ranker[gpu]')",
    )
    seen = "train.grpo.use_vllm = true"
    if params.use_cpu or found.cpu:
        raise BadConfig(rule, seen=f"{seen}, and training on the CPU is asked for", remedy=remedy)
    if importlib.util.find_spec("vllm") is None:
        raise BadConfig(rule, seen=f"{seen}, and vllm is not installed", remedy=remedy)
    if not cuda_devices():
        raise BadConfig(rule, seen=f"{seen}, and torch sees no CUDA device", remedy=remedy)


def _check_tracker(name: str) -> None:
    package = {"azure_ml": "azureml", "flyte": "flytekit"}.get(name, name)
    if importlib.util.find_spec(package) is None:
        raise BadConfig(
            "a tracker of train.report_to needs its package",
            seen=f"{name}, and {package} is not installed",
            remedy=f"pip install {package}, or leave it out",
        )


def _check_4bit(params: TrainParams, found: Parallel) -> None:
    seen = "train.policy.load_in_4bit = true"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BadConfig(
            "weights in 4 bits need the package bitsandbytes",
            seen=f"{seen}, and it is not installed",
            remedy="pip install bitsandbytes, or train.policy.load_in_4bit = false (LoRA, in bfloat16)",
        )
    if params.use_cpu or found.cpu or found.processes > 1 or params.grpo.use_vllm:
        raise BadConfig(
            "weights in 4 bits train in one process on a CUDA GPU, and vLLM does not take them over",
            seen=f"{seen}, {found.processes} processes, use_cpu {bool(params.use_cpu or found.cpu)}, use_vllm"
            f" {params.grpo.use_vllm}",
            remedy='train.accelerate_config = "gpu-1", train.grpo.use_vllm = false; or load_in_4bit = false',
        )


def cuda_devices() -> int:
    """CUDA devices that torch sees, asked in a process of its own: torch takes seconds, and CUDA must not
    start in a process that forks.
    """
    answer = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(answer.stdout.strip() or 0) if answer.returncode == 0 else 0
