"""Two processes for real (`accelerate launch`, gloo): they train one model, whole in each or in parts, each
rollout is recorded once, and a killed run goes on.
"""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path

import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load_file

from ranker.config import TrainParams
from ranker.train import job, parallel
from tests.full_length import in_bench_alone
from tests.ranker.train.jobs import owner, tiny, wait_for, write_job
from tests.ranker.train.worker import phased, sharded

STEPS = {"sft": 60, "rl": 6}
"""Enough SFT for answers whose rewards differ: without a spread in its groups GRPO moves nothing."""
EARLY = 12
"""Adam divides small gradients by themselves, so that the order of sums grows with every step: until here two
trainings are the same.
"""


def params(processes: int) -> TrainParams:
    base = tiny(
        sft={"max_steps": STEPS["sft"], "per_device_train_batch_size": 16 // processes, "save_steps": 20},
        grpo={
            "max_steps": STEPS["rl"],
            "per_device_train_batch_size": 16 // processes,
            "num_generations": 4,
            "save_steps": 2,
        },
    )
    changes = {"accelerate_config": "cpu-2" if processes == 2 else "", "snapshots": (EARLY,)}
    return base.model_copy(update=changes)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("two")
    folder = write_job(home, params(2))
    job.launch(folder, params(2), lambda text: None)
    return home, folder


def curve(folder: Path, phase: str, name: str) -> dict[int, float]:
    rows = pl.read_parquet(folder / f"metrics-{phase}.parquet").filter(pl.col("name") == name)
    return dict(zip(rows["step"], rows["value"], strict=True))


def test_two_processes_compute_what_one_does(tmp_path: Path, two: tuple[Path, Path]) -> None:
    """The same global batches: the same losses, the same weights, but for the order of sums."""
    one = phased.trained(tmp_path, params(1), "sft")
    found, wanted = (
        {step: loss for step, loss in curve(folder, "sft", "loss").items() if step <= EARLY}
        for folder in (two[1], one.folder)
    )
    assert len(wanted) >= 2 and found == pytest.approx(wanted, rel=1e-4)
    start, after_one = (phased.weights(one, phase) for phase in ("untrained", f"sft@{EARLY}"))
    after_two = load_file(two[0] / "models" / "k" / f"sft@{EARLY}" / "model.safetensors")
    assert distance(after_one, after_two) < 0.03 * distance(after_one, start)


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return float(sum((a[name] - b[name]).square().sum() for name in a) ** 0.5)


def test_both_processes_hold_one_model_after_every_phase(two):
    home, _ = two
    manifests = {
        phase: json.loads((home / "models" / "k" / phase / "ranker.json").read_text())["facts"]
        for phase in STEPS
    }
    for phase, facts in manifests.items():
        assert facts["processes"] == 2 and facts["steps"] == STEPS[phase]
        assert len(facts["fingerprints"]) == 2 and len(set(facts["fingerprints"])) == 1
    assert (
        len({facts["fingerprints"][0] for facts in manifests.values()}) == 2
    )  # each phase moved the weights


def test_every_rollout_is_recorded_once_and_every_metric_once(two):
    tables, _ = job.collect(*two, "k")
    episodes = pl.concat([pl.read_parquet(path) for path in tables["episodes"]])
    assert len(episodes) == STEPS["rl"] * 16 and episodes["episode_id"].is_unique().all()
    steps = pl.concat([pl.read_parquet(path) for path in tables["steps"]])
    assert {path.stem[-1] for path in tables["steps"]} == {"0", "1"} and steps["reward"].n_unique() > 1
    found = tables["training_metrics"]
    assert found.select("phase", "step", "name").is_unique().all()
    by_step = episodes.group_by("train_step").agg(pl.col("reward").mean()).sort("train_step")["reward"]
    logged = curve(two[1], "rl", "reward")
    assert list(logged) == [2, 4, 5, 6]  # every fifth step, and before every checkpoint
    for start, end in pairwise([0, *logged]):
        assert logged[end] == pytest.approx(by_step[start:end].mean())


@in_bench_alone
def test_a_policy_that_lies_in_parts_is_trained_as_a_whole_one(tmp_path: Path) -> None:
    """The shipped configuration of FSDP2, on two processes instead of four: SFT, validation and GRPO run, and
    what is gathered in the end is what one process has.
    """
    shipped = (parallel.FOLDER / "gpu-4-fsdp.yaml").read_text()
    own = tmp_path / "gpu-2-fsdp.yaml"
    own.write_text(shipped.replace("num_processes: 4", "num_processes: 2"))
    base = tiny(
        sft={"max_steps": 6, "per_device_train_batch_size": 8, "save_steps": 3},
        grpo={"max_steps": 1, "per_device_train_batch_size": 8, "num_generations": 4, "save_steps": 1},
    ).model_copy(update={"snapshots": (6,)})
    asked = base.model_copy(update={"accelerate_config": str(own), "bf16": False, "use_cpu": True})
    folder = write_job(tmp_path / "parts", asked)
    sharded.run(folder, asked, 2)
    whole = base.model_copy(update={"sft": base.sft.model_copy(update={"per_device_train_batch_size": 16})})
    one = phased.trained(tmp_path / "whole", whole, "sft")
    assert "checkpoint-3/pytorch_model_fsdp.bin" in (folder / "trainer.log").read_text()
    assert curve(folder, "sft", "loss") == pytest.approx(curve(one.folder, "sft", "loss"), rel=1e-4)
    start, after_one = (phased.weights(one, phase) for phase in ("untrained", "sft@6"))
    models = tmp_path / "parts" / "models" / "k"
    gathered = load_file(models / "sft@6" / "model.safetensors")
    assert distance(after_one, gathered) < 0.03 * distance(after_one, start)
    tables, details = job.collect(tmp_path / "parts", folder, "k")
    assert (details["rl"]["processes"], details["rl"]["steps"], details["rl"]["fingerprints"]) == (2, 1, [])
    assert sum(len(pl.read_parquet(path)) for path in tables["episodes"]) == 16


@in_bench_alone
def test_killed_in_reinforcement_two_processes_go_on_where_they_were(tmp_path, two):
    """How a phase of SFT goes on is transformers' own, and test_checkpoints.py's; here each process has
    rollouts and prompts of its own to go on with.
    """
    folder = write_job(tmp_path, params(2))
    killed_at(folder, folder / "rl" / "checkpoint-2" / "COMPLETE")
    job.launch(folder, params(2), lambda text: None)
    tables, _ = job.collect(tmp_path, folder, "k")
    facts = json.loads((tmp_path / "models" / "k" / "rl" / "ranker.json").read_text())["facts"]
    assert facts["resumed_from"] > 0 and facts["steps"] == STEPS["rl"]
    calm = job.collect(*two, "k")[0]["training_metrics"]
    keys = ["phase", "step", "name"]
    assert tables["training_metrics"].select(keys).sort(keys).equals(calm.select(keys).sort(keys))
    episodes = pl.concat([pl.read_parquet(path) for path in tables["episodes"]])
    assert len(episodes) == STEPS["rl"] * 16 and episodes["episode_id"].is_unique().all()
    # What is not sampled comes out the same.
    ends = [load_file(home / "models" / "k" / "sft" / "model.safetensors") for home in (tmp_path, two[0])]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def killed_at(folder: Path, mark: Path) -> None:
    """Run the job until `mark` is there, then kill both trainers and what watches them."""
    flow = owner(folder)
    wait_for(mark.is_file, str(mark))
    trainers = [
        process
        for process in psutil.Process(flow.pid).children(recursive=True)
        if "ranker.train.worker" in process.cmdline()
    ]
    for process in [*trainers, flow]:
        process.send_signal(signal.SIGKILL)
    flow.wait()
    assert len(trainers) >= 2
    wait_for(
        lambda: (
            not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in trainers)
        ),
        "both trainers to leave",
    )
