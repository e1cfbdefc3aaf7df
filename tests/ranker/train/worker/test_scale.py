"""What the size of a run changes: configurations, batches, precision, losses, adapters. One process,
phases called directly.
"""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOConfig

from ranker.config import parse_params
from ranker.refs import PROJECT
from ranker.train import job
from ranker.train.worker import scale
from ranker.train.worker.job import Job
from tests.ranker.train.jobs import tiny, with_, write_job
from tests.ranker.train.worker.phased import trained, weights


def losses(found: Job, phase: str = "sft") -> list[float]:
    frame = pl.read_parquet(found.folder / f"metrics-{phase}.parquet")
    return frame.filter(pl.col("name") == "loss").sort("step")["value"].to_list()


SFT = {"max_steps": 10, "per_device_train_batch_size": 16, "save_steps": 10}
GRPO = {"max_steps": 0}


def test_passes_that_make_one_step_give_the_step_of_one_pass(tmp_path):
    """And so does computing the activations again.

    At a low rate: Adam's first steps go by a gradient's sign, which rounding turns where it is almost 0.
    """
    slow = tiny(sft=SFT | {"learning_rate": 1e-4}, grpo=GRPO)
    plain = trained(tmp_path / "a", slow, "sft")
    for place, change in (
        ("b", {"sft": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}}),
        ("c", {"gradient_checkpointing": True}),
    ):
        other = trained(tmp_path / place, with_(slow, **change), "sft")
        assert losses(other) == pytest.approx(losses(plain), rel=1e-4), change


def test_bf16_computes_in_bf16_and_keeps_float32_weights_with_their_small_updates(tmp_path):
    """At lr 1e-6 an update is far below half a bf16 step of nearly all weights: weights kept in bf16 would
    stand still.
    """
    slow = tiny(sft=SFT | {"max_steps": 5, "learning_rate": 1e-6}, grpo=GRPO)
    full = trained(tmp_path / "full", with_(slow, bf16=False), "sft")
    found = trained(tmp_path / "half", with_(slow, bf16=True), "sft")
    assert losses(found) != losses(full) and losses(found) == pytest.approx(losses(full), rel=0.02)
    before, after = weights(found, "untrained"), weights(found, "sft")
    assert {value.dtype for value in after.values()} == {torch.float32}
    old, new = (
        torch.cat([kept[name].flatten() for name in after if "proj" in name]) for kept in (before, after)
    )
    moved = new != old
    lost = old.bfloat16() + ((new - old) / 5).bfloat16() == old.bfloat16()  # one step's update
    assert moved.float().mean() > 0.7 and lost[moved].float().mean() > 0.8


@pytest.mark.parametrize(("asked", "computed"), [(None, "no"), (True, "bf16")])
def test_a_configuration_does_not_overrule_the_precision_asked_for(asked, computed, tmp_path):
    """Seen on a GPU: float32 was asked for, the file said bf16, and bf16 was computed."""
    file = tmp_path / "own.yaml"
    file.write_text("distributed_type: 'NO'\nuse_cpu: true\nnum_processes: 1\nmixed_precision: bf16\n")
    params = with_(
        tiny(
            sft=SFT | {"max_steps": 2, "save_steps": 2},
            grpo={"max_steps": 1, "per_device_train_batch_size": 8, "save_steps": 1},
        ),
        accelerate_config=str(file),
        bf16=asked,
    )
    folder = write_job(tmp_path, params)
    if asked is None:  # of a policy from scratch the same as float32: by the same command
        assert job.command(folder, params) == job.command(folder, with_(params, bf16=False))
    job.launch(folder, params, print)
    _, details = job.collect(tmp_path, folder, "k")
    assert [(details[phase]["device"], details[phase]["precision"]) for phase in ("sft", "rl")] == [
        ("cpu", computed)
    ] * 2


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, {"use_vllm": False}),
        (
            {"use_vllm": True},
            {
                "use_vllm": True,
                "vllm_mode": "colocate",
                "vllm_gpu_memory_utilization": 0.3,
                "vllm_enable_sleep_mode": True,
                "vllm_max_model_length": 640,
            },
        ),
        (
            {"use_vllm": True, "vllm_mode": "server"},
            {
                "use_vllm": True,
                "vllm_mode": "server",
                "vllm_server_base_url": "http://127.0.0.1:8000",
            },
        ),
    ],
)
def test_vllm_is_asked_for_in_trls_own_words(tmp_path, asked, names):
    made = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        **scale.grpo(parse_params({"train": {"grpo": asked}}).train.grpo, 640),
    )
    assert {name: getattr(made, name) for name in names} == names


def test_lora_trains_adapters_only_and_the_merged_folder_needs_no_peft(tmp_path):
    found = trained(tmp_path, tiny(policy={"lora_r": 4}, sft=SFT | {"max_steps": 20}, grpo=GRPO), "sft")
    before, after = weights(found, "untrained"), weights(found, "sft")
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "proj" in name}  # no embedding, no norm, no head
    for name in changed:
        values = torch.linalg.svdvals(after[name] - before[name])
        assert values[4:].max() < 1e-4 * values[0], name  # an update of rank 4
    script = (
        "import sys; sys.modules['peft'] = None; from ranker.engines.transformers import load_model;"
        " print(load_model(sys.argv[1]).num_parameters())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(found.model("sft"))],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(value.numel() for value in before.values())


@pytest.mark.parametrize("rank", [0, 4])
def test_gathered_weights_make_the_same_model_again(tmp_path, rank):
    """What FSDP and DeepSpeed gather is a state dict: with it the start's folder becomes the trained
    model, adapters merged.
    """
    found = trained(tmp_path, tiny())
    start = found.model("untrained")
    lora = (
        LoraConfig(r=rank, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM") if rank else None
    )
    live = scale.load_model(start).float()
    live = get_peft_model(live, lora) if lora else live
    with torch.no_grad():
        for value in live.parameters():
            value.add_(0.01 * torch.randn_like(value))
    state = {name: value.clone() for name, value in live.state_dict().items()}
    again = scale.merged(scale.rebuilt(state, start, lora)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in scale.merged(live).state_dict().items())
    with pytest.raises(RuntimeError, match="missing"):
        scale.rebuilt(dict(list(state.items())[1:]), start, lora)


def test_lora_trains_and_is_merged(tmp_path):
    params = tiny(policy={"lora_r": 4}, sft={"max_steps": 4}, grpo={"max_steps": 2})
    trained(tmp_path, params, "sft", "rl")
    assert not list((tmp_path / "models" / "k" / "rl").glob("adapter*"))
    assert (tmp_path / "models" / "k" / "rl" / "model.safetensors").is_file()
