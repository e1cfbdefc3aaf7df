"""What the size of a run changes: configurations, batches, precision, losses, adapters. One process,
phases called directly.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import polars as pl
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from trl import GRPOConfig, GRPOTrainer

from ranker.config import GRPOParams, LossType, TrainParams, parse_params
from ranker.engines.transformers import load_model
from ranker.errors import BadConfig
from ranker.refs import PROJECT
from ranker.train import job, parallel
from ranker.train.estimate import BUCKET, LIVE
from ranker.train.worker import phases, scale
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.trainers import bfloat16
from tests.ranker.engines.models import tiny as tiny_model
from tests.ranker.train.worker.test_worker import tiny, write_job

Weights = dict[str, torch.Tensor]


def with_(params, **changes):
    """Parameters (or a section of them) with some replaced; a mapping replaces inside its section."""
    return params.model_copy(
        update={
            name: getattr(params, name).model_copy(update=value) if isinstance(value, dict) else value
            for name, value in changes.items()
        }
    )


def trained(home: Path, params: TrainParams, *names: str) -> Job:
    """The phases, in this process."""
    found = Job.read(write_job(home, params) / "job.json")
    heartbeat = Heartbeat(found.folder / "heartbeat.json")
    for name in ("untrained", *names):
        getattr(phases, name)(found, heartbeat)
    return found


def weights(found: Job, phase: str) -> Weights:
    return load_file(found.model(phase) / "model.safetensors")


def losses(found: Job, phase: str = "sft") -> list[float]:
    frame = pl.read_parquet(found.folder / f"metrics-{phase}.parquet")
    return frame.filter(pl.col("name") == "loss").sort("step")["value"].to_list()


SFT = {"max_steps": 10, "per_device_train_batch_size": 16, "save_steps": 10}
GRPO = {"max_steps": 0}


# --- configurations
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", parallel.names())
def test_accelerate_itself_takes_every_shipped_configuration(name):
    params = with_(
        TrainParams(accelerate_config=name, main_address="10.0.0.1:29500"),
        policy={"model_name_or_path": "models/some"},
    )
    found = parallel.read(params)
    config = load_config_from_file(str(found.file))
    assert (config.num_processes, config.num_machines) == (found.processes, found.machines)
    command = job.command(Path("jobs/k"), params, machine=found.machines - 1)
    arguments = launch_command_parser().parse_args(command[command.index("accelerate.commands.launch") + 1 :])
    arguments, _, _ = _validate_launch_command(arguments)
    assert arguments.use_fsdp == (
        found.sharding == "fsdp"
    ) and arguments.use_deepspeed == found.sharding.startswith("zero")
    assert arguments.num_processes == found.processes and arguments.mixed_precision == (
        "no" if found.cpu else "bf16"
    )
    assert arguments.machine_rank == found.machines - 1 and arguments.training_script == "ranker.train.worker"
    if found.machines > 1:
        assert (arguments.main_process_ip, arguments.main_process_port) == ("10.0.0.1", 29500)


@pytest.mark.parametrize("name", [name for name in parallel.names() if "zero" in name])
def test_deepspeed_itself_takes_its_part(name):
    """Where it is installed (the extra `gpu`); its own schema forbids unknown fields."""
    zero = pytest.importorskip("deepspeed.runtime.zero.config")
    config = load_config_from_file(str(parallel.FOLDER / f"{name}.yaml")).deepspeed_config
    asked = {key: value for key, value in config.items() if key.startswith("zero")}
    plugin = DeepSpeedPlugin(
        **asked,
        offload_optimizer_device=config["offload_optimizer_device"],
        offload_param_device=config["offload_param_device"],
    )
    made = zero.DeepSpeedZeroConfig(**plugin.deepspeed_config["zero_optimization"])
    assert made.stage == config["zero_stage"] and (made.reduce_bucket_size, made.max_live_parameters) == (
        BUCKET,
        LIVE,
    )


def test_the_sizes_in_their_names_are_the_sizes():
    read = {
        name: parallel.read(TrainParams(accelerate_config=name, main_address="a:1"))
        for name in parallel.names()
    }
    assert {name: (p.machines, p.processes, p.sharding) for name, p in read.items()} == {
        "cpu-2": (1, 2, "ddp"),
        "gpu-1": (1, 1, "none"),
        "gpu-4-fsdp": (1, 4, "fsdp"),
        "gpu-4-zero2": (1, 4, "zero2"),
        "gpu-4-zero3": (1, 4, "zero3"),
        "gpu-2x4-fsdp": (2, 8, "fsdp"),
        "gpu-2x4-zero3": (2, 8, "zero3"),
    }


def test_a_file_of_ones_own_is_read_and_what_is_none_is_named(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_GPU\nnum_processes: 3\n")
    assert parallel.read(TrainParams(accelerate_config=str(own))) == parallel.Parallel(
        own, 3, 1, "ddp", False
    )
    for text in (
        "num_machines: 1\n",
        "- a list\n",
        "num_processes: [\n",
        "distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: {zero_stage: 1}\n",
    ):
        own.write_text(text)
        with pytest.raises(BadConfig, match="cpu-2"):
            parallel.read(TrainParams(accelerate_config=str(own)))
    with pytest.raises(BadConfig, match="main_address"):
        parallel.read(TrainParams(accelerate_config="gpu-2x4-fsdp"))


def test_each_other_machine_gets_its_command(tmp_path):
    params = TrainParams(accelerate_config="gpu-2x4-fsdp", main_address="10.0.0.1:29500")
    first, second = (job.command(tmp_path, params, machine) for machine in (0, 1))
    differing = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert differing == [("0", "1")]


# --- batches
# ------------------------------------------------------------------------------------------------------


def test_a_step_has_what_all_processes_hold_in_all_passes():
    sft = with_(TrainParams().sft, per_device_train_batch_size=8, gradient_accumulation_steps=2)
    assert (sft.batch(1), sft.batch(4)) == (16, 64)


@pytest.mark.parametrize(
    ("size", "passes", "processes", "remedy"), [(3, 1, 2, 4), (1, 2, 2, 2), (6, 1, 1, 8), (30, 1, 1, 32)]
)
def test_a_step_takes_whole_groups(size, passes, processes, remedy):
    grpo = with_(
        GRPOParams(),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=passes,
        num_generations=8,
    )
    with pytest.raises(BadConfig, match=rf"per_device_train_batch_size to {remedy}$"):
        parallel.check_groups(grpo, processes)
    parallel.check_groups(with_(grpo, per_device_train_batch_size=remedy), processes)
    parallel.check_groups(with_(grpo, max_steps=0), processes)


def test_what_cannot_train_is_refused_before_anything_is_exported(tmp_path):
    odd = with_(
        tiny(), accelerate_config="cpu-2", grpo={"per_device_train_batch_size": 3, "num_generations": 4}
    )
    with pytest.raises(BadConfig, match="whole groups"):
        job._produce(SimpleNamespace(home=tmp_path), "k", odd, None, None, False, print)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadConfig, match="exact"):
        parallel.check(with_(TrainParams(accelerate_config="gpu-4-fsdp"), exact={"max_steps": 4}))
    for option in ({"on_policy": 0.5}, {"resample": 1}):
        grpo = {"per_device_train_batch_size": 6, "num_generations": 4} | option
        cut = with_(tiny(), accelerate_config="cpu-2", grpo=grpo)
        with pytest.raises(BadConfig, match=r"every process holds whole groups[\s\S]*size to 8"):
            parallel.check(cut)
        parallel.check(with_(cut, grpo={"per_device_train_batch_size": 8}))


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


# --- precision
# ----------------------------------------------------------------------------------------------------


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


def test_bf16_is_for_pretrained_models_on_a_gpu_unless_it_is_asked_for():
    scratch, pretrained = TrainParams(), with_(TrainParams(), policy={"model_name_or_path": "models/some"})
    found = [
        (with_(params, bf16=asked), gpu)
        for params in (scratch, pretrained)
        for asked in (None, False, True)
        for gpu in (False, True)
    ]
    assert [parallel.bf16(*one) for one in found] == [
        False,
        False,
        False,
        False,
        True,
        True,
        False,
        True,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(("asked", "computed"), [(False, "no"), (None, "no"), (True, "bf16")])
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
    job.launch(folder, params, print)
    _, details = job.collect(tmp_path, folder, "k")
    assert [(details[phase]["device"], details[phase]["precision"]) for phase in ("sft", "rl")] == [
        ("cpu", computed)
    ] * 2


def test_while_it_generates_a_model_has_bf16_copies_of_its_weights(tmp_path):
    model = load_model(tiny_model(tmp_path))
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.arange(6)[None]
    whole = model(ids).logits
    with pytest.raises(KeyError), bfloat16(model):
        half = model(ids).logits
        raise KeyError
    assert (
        half.dtype == torch.bfloat16
        and torch.allclose(half.float(), whole, atol=0.05)
        and not torch.equal(half.float(), whole)
    )
    assert all(
        value.dtype == torch.float32 and torch.equal(value, kept[name])
        for name, value in model.state_dict().items()
    )


# --- GRPO
# ---------------------------------------------------------------------------------------------------------


def test_the_losses_offered_are_those_that_trl_computes():
    """From the comparisons in TRL's own loss, so that neither list can change alone."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(GRPOTrainer._compute_loss)))
    compared = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == "self.loss_type"
    ]
    known = {
        leaf.value
        for node in compared
        for side in node.comparators
        for leaf in ast.walk(side)
        if isinstance(leaf, ast.Constant)
    }
    assert set(get_args(LossType)) == known
    with pytest.raises(BadConfig, match="loss_type"):
        parse_params({"train": {"grpo": {"loss_type": "ppo"}}})


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """A policy after SFT, whose rollouts differ in reward."""
    home = tmp_path_factory.mktemp("taught")
    return (
        trained(
            home, tiny(sft={"max_steps": 160, "per_device_train_batch_size": 16, "save_steps": 160}), "sft"
        ).home
        / "models"
        / "k"
    )


@pytest.mark.parametrize("loss", get_args(LossType))
def test_every_loss_trains_on_completions_used_twice(tmp_path, taught, loss):
    grpo = {
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "save_steps": 4,
        "num_iterations": 2,
        "loss_type": loss,
        "epsilon_high": 0.28,
        "learning_rate": 1e-4,
        "importance_sampling_level": "sequence" if loss == "luspo" else "token",
        "gradient_accumulation_steps": 2,
    }
    params = tiny(grpo=grpo)
    folder = write_job(tmp_path, params)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "k").symlink_to(taught)
    found = Job.read(folder / "job.json")
    try:
        phases.rl(found, Heartbeat(folder / "heartbeat.json"))
        moved = weights(found, "rl")
        assert any(not torch.equal(moved[name], value) for name, value in weights(found, "sft").items())
        episodes = pl.concat([pl.read_parquet(path) for path in (folder / "rollouts").glob("episodes-*")])
        assert sorted(episodes["train_step"].unique()) == [0, 2] and len(episodes) == 2 * 16
    finally:
        for path in (taught / "rl").glob("*"):
            path.unlink()
        (taught / "rl").rmdir()


def test_a_checkpoint_keeps_no_half_used_completions():
    with pytest.raises(BadConfig, match="multiple of num_iterations"):
        parse_params({"train": {"grpo": {"num_iterations": 4, "save_steps": 50}}})


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
                "vllm_server_host": "127.0.0.1",
                "vllm_server_port": 8000,
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


def test_vllm_is_refused_where_it_cannot_run():
    wanted = with_(TrainParams(), grpo={"use_vllm": True})
    with pytest.raises(BadConfig, match="on the CPU"):
        parallel.check(with_(wanted, accelerate_config="cpu-2"))
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(BadConfig, match=r"vllm is not installed|no CUDA device"):
        parallel.check(wanted)


# --- adapters
# -----------------------------------------------------------------------------------------------------


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
