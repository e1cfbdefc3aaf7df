"""Names that parameters had once, and what to write instead.

A file or `--set` with one of them is refused with its remedy: nobody's parameters are dropped in silence, and
none of them mean something else than they say.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Mapping

from ranker.errors import BadConfig
from ranker.types import Fields, JsonObject

log = logging.getLogger("ranker.config")
_STEP = (
    "{phase}.per_device_train_batch_size, what a process holds at once: batch / (accumulation × processes)"
)


def _phase(phase: str) -> dict[str, str]:
    """What all phases of training had."""
    return {
        f"{phase}.steps": f"{phase}.max_steps",
        f"{phase}.batch": _STEP.format(phase=phase),
        f"{phase}.accumulation": f"{phase}.gradient_accumulation_steps",
        f"{phase}.save_every": f"{phase}.save_steps",
    }


RENAMED: dict[str, str] = {
    "distill.max_completion": "distill.max_completion_length",
    "train.policy.source": "train.policy.model_name_or_path",
    "train.policy.layers": "train.policy.num_hidden_layers",
    "train.policy.hidden": "train.policy.hidden_size",
    "train.policy.heads": "train.policy.num_attention_heads",
    "train.policy.head_width": "train.policy.head_dim",
    "train.policy.inner": "train.policy.intermediate_size",
    "train.policy.vocabulary": "train.policy.vocab_size",
    "train.policy.context": "train.policy.max_length",
    "train.policy.lora_rank": "train.policy.lora_r",
    **_phase("train.sft"),
    **_phase("train.grpo"),
    "train.grpo.generations": "train.grpo.num_generations",
    "train.grpo.mu": "train.grpo.num_iterations",
    "train.grpo.importance": "train.grpo.importance_sampling_level",
    "train.grpo.max_completion": "train.grpo.max_completion_length",
    "train.grpo.vllm": 'train.grpo.use_vllm, true or false, and train.grpo.vllm_mode, "colocate" or "server"',
    "train.grpo.vllm_memory": "train.grpo.vllm_gpu_memory_utilization",
    "train.grpo.vllm_host": "train.grpo.vllm_server_base_url, e.g. http://127.0.0.1:8000",
    "train.grpo.vllm_port": "train.grpo.vllm_server_base_url, e.g. http://127.0.0.1:8000",
    "train.precision": "train.bf16, true or false (leave it out for what was auto)",
    "train.checkpointing": "train.gradient_checkpointing",
    "train.device": "train.use_cpu, true for what was cpu",
    "evaluate.max_completion": "evaluate.max_completion_length",
    "evaluate.batch": "evaluate.per_device_eval_batch_size",
}
"""Old name → the new one, and behind a comma what else is to be known."""

REMOVED: dict[str, str] = {
    "distill.min_pool": "2",
    "distill.timeout_seconds": "120",
    "train.sft.warmup": "0.05",
    "train.sft.warmup_steps": "0.05",
    "train.grpo.temperature": "1.0",
    "train.grpo.epsilon": "0.2",
    "train.grpo.scale_rewards": '"group"',
    "train.grpo.vllm_sleep": "true",
    "evaluate.extra_queries": "12",
}
"""Old name → what it always is now."""


_ONE_RATE = "all weights of a phase have its learning_rate"
_PLAIN = "a policy from scratch starts from plain random weights"
GONE: dict[str, str] = {
    "train.exact": "rewards are trained on by train.grpo",
    **{
        f"train.{phase}.{rate}": _ONE_RATE
        for phase in ("sft", "grpo")
        for rate in ("embedding_rate", "head_rate", "item_rate", "layer_rate")
    },
    **{
        f"train.policy.{name}": _PLAIN
        for name in ("structured", "answering", "meaning", "items", "codes", "grades")
    },
}
"""Old name → what holds in its place, where that is no value of it. A section's name stands for all in it."""


def new_name(old: str) -> str:
    """The parameter that took the place of a renamed one."""
    return RENAMED[old].partition(",")[0]


def refuse(given: Fields) -> None:
    """Refuse parameters by a name that they had once.

    Raises:
        BadConfig: naming each of them, and the new name, or that it is gone and what it always is.
    """
    found = [name for name in _names(given) if name in RENAMED or name in REMOVED or name in GONE]
    if found:
        raise BadConfig(
            "parameters are given by today's names",
            seen=", ".join(found),
            remedy="; ".join(map(_remedy, found)),
        )


def _remedy(name: str) -> str:
    if name in RENAMED:
        return f"{name} is now {RENAMED[name]}"
    return f"{name} was removed: " + (f"it is always {REMOVED[name]}" if name in REMOVED else GONE[name])


def recorded(section: str, given: Fields) -> JsonObject:
    """Parameters of a section and of those in it as an older version has recorded them, by today's names; for
    renamings that change no value. What was removed is left out, and said where it was another value than it
    always is now.
    """
    read: JsonObject = {}
    for name, value in given.items():
        full = f"{section}.{name}"
        if full in REMOVED:
            always = tomllib.loads(f"value = {REMOVED[full]}")["value"]
            if value != always:
                log.warning("%s was %r when this was recorded; now it is always %r", full, value, always)
            continue
        today = new_name(full).rpartition(".")[2] if full in RENAMED else name
        read[today] = recorded(full, value) if isinstance(value, Mapping) else value
    return read


def _names(given: Fields, where: str = "") -> Iterator[str]:
    for name, value in given.items():
        yield f"{where}{name}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{where}{name}.")
