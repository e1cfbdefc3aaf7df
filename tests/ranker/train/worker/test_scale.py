"""What the size of a run changes: configurations, batches, precision, losses, adapters. One process,
phases called directly.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from trl import GRPOConfig

from ranker.config import parse_params
from ranker.engines import base_of, transformers
from ranker.errors import BadConfig
from ranker.refs import PROJECT
from ranker.train import job, parallel
from ranker.train.worker import phase_run, scale
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


@pytest.fixture(autouse=True)
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor has none it is emulated, which tiny models can bear."""
    monkeypatch.setattr(scale, "computes_bfloat16", lambda: True)


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, one step of the default preset took minutes."""
    asked = with_(tiny(), bf16=True, use_cpu=True)
    assert scale.arguments(asked, "sft")["bf16"] and scale.holds_bfloat16(asked)
    monkeypatch.setattr(scale, "computes_bfloat16", lambda: False)
    assert not scale.arguments(asked, "sft")["bf16"] and not scale.holds_bfloat16(asked)


def test_bf16_computes_in_bf16_and_keeps_float32_weights_with_their_small_updates(tmp_path, monkeypatch):
    """At lr 1e-6 an update is far below half a bf16 step of nearly all weights: weights kept in bf16 would
    stand still.
    """
    monkeypatch.setenv(
        "ACCELERATE_MIXED_PRECISION", "no"
    )  # as launcher and job.launch say, whatever is asked
    slow = with_(tiny(sft=SFT | {"max_steps": 5, "learning_rate": 1e-6}, grpo=GRPO), eval_queries=0)
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


def test_a_configuration_does_not_overrule_the_precision_asked_for(tmp_path):
    """Seen on a GPU: float32 was asked for, the file said bf16, and bf16 was computed."""
    file = tmp_path / "own.yaml"
    file.write_text("distributed_type: 'NO'\nuse_cpu: true\nnum_processes: 1\nmixed_precision: bf16\n")
    params = with_(
        tiny(
            sft=SFT | {"max_steps": 2, "save_steps": 2},
            grpo={"max_steps": 1, "per_device_train_batch_size": 8, "save_steps": 1},
        ),
        accelerate_config=str(file),
        bf16=None,
    )
    folder = write_job(tmp_path, params)
    job.launch(folder, params, print)
    _, details = job.collect(tmp_path, folder, "k")
    assert [(details[phase]["device"], details[phase]["precision"]) for phase in ("sft", "rl")] == [
        ("cpu", "no")
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
    params = with_(
        tiny(policy={"lora_r": 4, "merge_adapters": True}, sft=SFT | {"max_steps": 20}, grpo=GRPO),
        eval_queries=0,
    )
    found = trained(tmp_path, params, "sft")
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
    lora = {"lora_r": 4, "merge_adapters": True}
    params = with_(tiny(policy=lora, sft={"max_steps": 4}, grpo={"max_steps": 2}), eval_queries=0)
    trained(tmp_path, params, "sft", "rl")
    assert not list((tmp_path / "models" / "k" / "rl").glob("adapter*"))
    assert (tmp_path / "models" / "k" / "rl" / "model.safetensors").is_file()


def test_master_weights_keep_the_bits_that_bfloat16_has_not(tmp_path, monkeypatch):
    """Of a model that inference reads in bfloat16: read so before training, its low bits would be gone."""
    monkeypatch.setattr(transformers, "in_bfloat16", lambda parameters: True)
    found = trained(tmp_path, with_(tiny(), bf16=True))
    kept = weights(found, "untrained")
    assert not all(torch.equal(value, value.bfloat16().float()) for value in kept.values())
    model, _, _ = phase_run.begun(found, "untrained")
    gathered = scale.rebuilt(dict(model.state_dict()), found.model("untrained"), None)
    for held in (model, gathered):
        for name, value in held.state_dict().items():
            assert value.dtype == torch.float32 and torch.equal(value, kept[name]), name


LORA = {"max_steps": 6, "save_steps": 3, "per_device_train_batch_size": 8}


def test_adapters_go_through_both_phases_as_adapters_on_the_weights_they_began_with(tmp_path):
    grpo = LORA | {"num_generations": 4, "beta": 0.1, "load_best_model_at_end": False}
    params = tiny(policy={"lora_r": 4}, sft=LORA | {"learning_rate": 1e-2}, grpo=grpo)
    found = trained(tmp_path / "here", with_(params, bf16=True, eval_queries=0), "sft", "rl")
    for phase in ("sft", "rl"):
        folder = found.model(phase)
        assert not (folder / "model.safetensors").exists() and (folder / "config.json").is_file()
        assert base_of(folder) == found.model("untrained").resolve()
        held = load_file(folder / "adapter_model.safetensors")
        assert {value.dtype for value in held.values()} == {torch.float32}
    taught, reinforced = (load_file(found.model(p) / "adapter_model.safetensors") for p in ("sft", "rl"))
    assert set(taught) == set(reinforced) and all("lora_" in name for name in taught)
    assert any("lora_B" in name and bool(value.any()) for name, value in reinforced.items())
    metrics = pl.read_parquet(found.folder / "metrics-rl.parquet")
    first = metrics.filter(pl.col("name") == "kl").sort("step")["value"][0]
    assert abs(first) < 1e-3, "it is taken from what SFT has taught, and not from the weights below"
    shutil.copytree(tmp_path / "here", tmp_path / "moved")
    before = weights(found, "untrained")
    shutil.rmtree(tmp_path / "here")
    moved = transformers.load_model(tmp_path / "moved" / "models" / "k" / "rl", float32=True).state_dict()
    for name in (name for name in moved if "proj" in name):
        a, b = (reinforced[f"base_model.model.{name.removesuffix('weight')}lora_{x}.weight"] for x in "AB")
        torch.testing.assert_close(moved[name], before[name] + 2 * b @ a)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
def test_weights_in_4_bits_are_refused_where_they_cannot_be():
    params = tiny(policy={"lora_r": 4, "load_in_4bit": True})
    with pytest.raises(BadConfig, match="pip install bitsandbytes"):
        parallel.check(params)
    with pytest.raises(BadConfig, match="lora_r"):
        tiny(policy={"load_in_4bit": True})
