"""What a run's size asks of its parameters: configurations of accelerate, batches that can be cut, precision,
vLLM.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from ranker.config import GRPOParams, TrainParams
from ranker.config.training import Tracker
from ranker.errors import BadConfig
from ranker.train import job, parallel
from ranker.train.estimate import BUCKET, LIVE
from tests.ranker.train.jobs import tiny, with_


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
    assert arguments.num_processes == found.processes
    assert arguments.mixed_precision == "no", "the worker decides: a launcher's bf16 would overrule it"
    assert arguments.machine_rank == found.machines - 1 and arguments.training_script == "ranker.train.worker"
    if found.machines > 1:
        assert (arguments.main_process_ip, arguments.main_process_port) == ("10.0.0.1", 29500)


def test_one_process_is_started_without_a_launcher():
    assert job.command(Path("jobs/k"), TrainParams(threads=1)) == [
        sys.executable,
        "-m",
        "ranker.train.worker",
        "jobs/k/job.json",
    ]


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
        job._produce(
            SimpleNamespace(home=tmp_path), "k", odd, None, None, False, print, job.launch, None, None
        )
    assert not list(tmp_path.iterdir())
    for option in ({"on_policy": 0.5}, {"resample": 1}):
        grpo = {"per_device_train_batch_size": 6, "num_generations": 4} | option
        cut = with_(tiny(), accelerate_config="cpu-2", grpo=grpo)
        with pytest.raises(BadConfig, match=r"every process holds whole groups[\s\S]*size to 8"):
            parallel.check(cut)
        parallel.check(with_(cut, grpo={"per_device_train_batch_size": 8}))


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


def test_vllm_is_refused_where_it_cannot_run():
    wanted = with_(TrainParams(), grpo={"use_vllm": True})
    with pytest.raises(BadConfig, match="on the CPU"):
        parallel.check(with_(wanted, accelerate_config="cpu-2"))
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(BadConfig, match=r"vllm is not installed|no CUDA device"):
        parallel.check(wanted)


def test_a_tracker_is_one_of_transformers_and_installed():
    assert set(get_args(Tracker)) == set(INTEGRATION_TO_CALLBACK)
    with pytest.raises(BadConfig, match="pip install neptune"):
        parallel.check(with_(tiny(), report_to=("neptune",)))
