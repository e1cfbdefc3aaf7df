"""The training process for real: a job is exported, `accelerate launch` runs it, it is killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from ranker.config import TrainParams, parse_params
from ranker.errors import TrainingFailed
from ranker.policy.prompts import Prompt, messages, trace
from ranker.train import job
from tests.ranker.factories import overlap_sets

LIMIT_SECONDS = 120
NOTHING_TAUGHT = pl.DataFrame(schema={"set_id": pl.String, "label": pl.String, "score": pl.Float64})


def tiny(**phases: dict) -> TrainParams:
    """Long enough that a killed flow's trainer is still in the phase when it notices (it looks every
    second).
    """
    sft = {"max_steps": 160, "per_device_train_batch_size": 16, "save_steps": 20} | phases.get("sft", {})
    grpo = {
        "max_steps": 36,
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "save_steps": 4,
    } | phases.get("grpo", {})
    return parse_params(
        {
            "preset": "tiny",
            "train": {"sft": sft, "grpo": grpo, "policy": phases.get("policy", {}), "threads": 1},
        }
    ).train


def write_job(home: Path, params: TrainParams, key: str = "k") -> Path:
    """The files that `job.export` writes, from made-up sets instead of a lake."""
    folder = home / "jobs" / key
    folder.mkdir(parents=True)
    sets = overlap_sets(60)
    rows = []
    for given in sets:
        worst = min(given.labels, key=given.relevance.get)
        text = trace(
            "exclude",
            True,
            {label: int(grade) for label, grade in given.relevance.items()},
            [worst],
            "compact",
        )
        rows.append(
            {
                "task": "synthetic",
                "prompt": messages(Prompt("exclude", True, given), "compact")[-1]["content"],
                "completion": text,
                "pool_size": 4,
            }
        )
    pl.DataFrame(rows).write_parquet(folder / "sft.parquet")
    job.rl_prompts(sets, NOTHING_TAUGHT, params.grpo, "compact").write_parquet(folder / "rl.parquet")
    pl.DataFrame(schema={"task": pl.String, "item_id": pl.String, "token": pl.String}).write_parquet(
        folder / "items.parquet"
    )
    pl.DataFrame(schema={"task": pl.String, "user_id": pl.String, "item_id": pl.String}).write_parquet(
        folder / "histories.parquet"
    )
    (folder / "job.json").write_text(
        json.dumps(
            {"key": key, "home": str(home), "params": params.model_dump(mode="json"), "tasks": ["synthetic"]}
        )
    )
    return folder


def counts(home: Path, folder: Path) -> dict[str, int]:
    tables, details = job.collect(home, folder, "k")
    rows = {
        name: len(value) if isinstance(value, pl.DataFrame) else sum(len(pl.read_parquet(p)) for p in value)
        for name, value in tables.items()
    }
    return rows | {phase: details[phase]["steps"] for phase in ("sft", "rl")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, Path, dict[str, int]]:
    home = tmp_path_factory.mktemp("calm")
    params = tiny()
    folder = write_job(home, params)
    said: list[str] = []
    job.launch(folder, params, said.append)
    return home, folder, counts(home, folder)


@pytest.mark.parametrize(("kind", "follows"), [("ranking", True), ("blind", False)])
def test_the_blind_reward_does_not_see_the_relevance(kind, follows):
    from ranker.train.worker import phases

    params = tiny(grpo={"reward": kind}).grpo
    row = {"pool": ["A", "B", "C"], "mode": "exclude", "thinking": True}
    said = [{"content": "<think> A 2 B 0 C 4 </think> <answer> B </answer>"}]
    earned = [
        phases._rollout(row | {"relevance": grades}, [{"content": "?"}], said, False, params).reward.total
        for grades in ([2.0, 0.0, 4.0], [0.0, 4.0, 2.0])
    ]
    assert (earned[0] > earned[1]) == follows and (earned[0] == earned[1]) == (not follows)


def test_a_job_leaves_three_models_metrics_and_every_rollout(undisturbed):
    home, folder, rows = undisturbed
    assert rows["sft"] == 160 and rows["rl"] == 36
    assert rows["episodes"] == rows["steps"] == 36 * 16
    tables, details = job.collect(home, folder, "k")
    assert {(home / details["model"] / phase / "model.safetensors").is_file() for phase in job.PHASES} == {
        True
    }
    assert set(tables["training_metrics"]["phase"]) == {"sft", "rl"}
    steps = pl.concat([pl.read_parquet(p) for p in tables["steps"]])
    assert (steps["valid"] == (steps["reason"] == "")).all()
    episodes = pl.concat([pl.read_parquet(p) for p in tables["episodes"]])
    assert (
        episodes["episode_id"].is_unique().all()
        and (
            (steps["reward"] - steps["reward_format"] - steps["reward_task"] - steps["reward_trace"]).abs()
            < 1e-9
        ).all()
    )


def test_exact_expected_reward_raises_what_it_ascends_and_grpo_starts_from_it(tmp_path):
    """No GRPO steps, so that the policy that goes on is the exact phase's own."""
    base = tiny(sft={"max_steps": 40}, grpo={"max_steps": 0})
    params = base.model_copy(
        update={
            "exact": base.exact.model_copy(
                update={"max_steps": 60, "per_device_train_batch_size": 16, "learning_rate": 1e-3}
            )
        }
    )
    folder = write_job(tmp_path, params)
    job.launch(folder, params, lambda text: None)
    metrics = job.collect(tmp_path, folder, "k")[0]["training_metrics"]
    assert set(metrics["phase"]) == {"sft", "exact"}
    curve = metrics.filter((pl.col("phase") == "exact") & (pl.col("name") == "reward_exclude")).sort("step")[
        "value"
    ]
    assert curve.tail(4).mean() > curve.head(4).mean()
    weights = [
        (tmp_path / "models" / "k" / phase / "model.safetensors").read_bytes()
        for phase in ("sft", "exact", "rl")
    ]
    assert weights[1] == weights[2] != weights[0]


def test_group_advantages_sum_to_zero(undisturbed):
    home, folder, _ = undisturbed
    steps = pl.concat([pl.read_parquet(p) for p in job.collect(home, folder, "k")[0]["steps"]])
    groups = (
        steps.with_row_index()
        .group_by(pl.col("index") // 4)
        .agg(pl.col("advantage").sum(), pl.col("prompt").n_unique())
    )
    assert (groups["advantage"].abs() < 1e-3).all() and (groups["prompt"] == 1).all()


def owner(folder: Path) -> subprocess.Popen:
    """A process that plays the flow: it launches the trainer and watches it."""
    code = (
        "import sys, json, pathlib; sys.path.insert(0, '.'); from ranker.train import job; from ranker.config"
        " import TrainParams\nf = pathlib.Path(sys.argv[1]); p = TrainParams.model_validate(json.loads((f /"
        " 'job.json').read_text())['params']); job.launch(f, p, print)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def test_killed_flows_end_their_trainers_and_a_new_run_resumes_to_the_same_rows(tmp_path, undisturbed):
    """One job whose flow is killed in every phase: one way to the end, not one a phase."""
    params = tiny()
    folder = write_job(tmp_path, params)
    for moment in ("sft/checkpoint-20/COMPLETE", "rl/checkpoint-4/COMPLETE"):
        flow = owner(folder)
        wait_for((folder / moment).is_file, moment)
        trainer = json.loads((folder / "heartbeat.json").read_text())["pid"]
        flow.send_signal(signal.SIGKILL)
        flow.wait()
        wait_for(
            lambda pid=trainer: (
                not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
            ),
            "the orphaned trainer to leave",
        )
    job.launch(folder, params, lambda text: None)
    assert counts(tmp_path, folder) == undisturbed[2]
    details = job.collect(tmp_path, folder, "k")[1]
    assert details["sft"]["resumed_from"] > 0 and details["rl"]["resumed_from"] > 0


def beat(folder: Path) -> str:
    try:
        return json.loads((folder / "heartbeat.json").read_text())["text"]
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


def step(folder: Path, phase: str) -> int:
    """Where the trainer says that it is in `phase`; −1 in another."""
    words = beat(folder).split()
    return int(words[2]) if words[:2] == [phase, "step"] else -1


KILLS = [("SFT", 47, 0), ("SFT", 113, 40), ("GRPO", 7, 0), ("GRPO", 23, 4)]
"""Phase, the step at whose beat the trainer is killed, and the checkpoint from which the run that is
killed there began the phase.
"""


def test_a_trainer_killed_again_and_again_between_checkpoints_ends_as_if_it_had_not_been(
    tmp_path, undisturbed
):
    """The same steps, every logged value once and the same, the same rollouts, the same weights to the last
    bit: data order, optimizer and random numbers go on where the checkpoint left them, each time.
    """
    params = tiny()
    folder = write_job(tmp_path, params)
    for phase, at, begun in KILLS:
        flow, seen = owner(folder), {at}

        def there(phase=phase, at=at, seen=seen) -> bool:
            now = step(folder, phase)
            if now >= 0:
                seen.add(now)
            return now >= at

        wait_for(there, f"{phase} step {at}")
        os.kill(json.loads((folder / "heartbeat.json").read_text())["pid"], signal.SIGKILL)
        flow.wait()
        assert min(seen) >= begun, "it went on from its last checkpoint"
    job.launch(folder, params, lambda text: None)
    assert counts(tmp_path, folder) == undisturbed[2]
    (tables, details), (calm, _) = (
        job.collect(tmp_path, folder, "k"),
        job.collect(undisturbed[0], undisturbed[1], "k"),
    )
    assert details["sft"]["resumed_from"] >= 100 and details["rl"]["resumed_from"] >= 20
    assert logged(tables).equals(logged(calm))
    assert rollouts(tables).equals(rollouts(calm))
    for trained in ("sft", "rl"):
        ends = [
            (home / "models" / "k" / trained / "model.safetensors").read_bytes()
            for home in (tmp_path, undisturbed[0])
        ]
        assert ends[0] == ends[1], trained


def logged(tables: dict) -> pl.DataFrame:
    """The curves; how long a step took and how much of a restarted phase this run did are no part of them."""
    frame = tables["training_metrics"].filter(
        ~pl.col("name").str.contains("runtime|per_second|step_time|train_loss|total_flos")
    )
    assert frame.select("phase", "step", "name").is_unique().all()
    return frame.sort("phase", "step", "name")


def rollouts(tables: dict) -> pl.DataFrame:
    """Steps of all episodes, without their clock."""
    return (
        pl.concat([pl.read_parquet(path) for path in tables["steps"]]).drop("milliseconds").sort("episode_id")
    )


def test_a_broken_job_fails_with_the_end_of_its_log(tmp_path):
    params = tiny()
    folder = write_job(tmp_path, params)
    (folder / "sft.parquet").write_bytes(b"not parquet")
    with pytest.raises(TrainingFailed, match="parquet"):
        job.launch(folder, params, lambda text: None)
    assert not (tmp_path / "models" / "k" / "untrained").exists()


def test_lora_trains_and_is_merged(tmp_path):
    params = tiny(policy={"lora_r": 4}, sft={"max_steps": 4}, grpo={"max_steps": 2})
    folder = write_job(tmp_path, params)
    job.launch(folder, params, lambda text: None)
    assert not list((tmp_path / "models" / "k" / "rl").glob("adapter*"))
    assert (tmp_path / "models" / "k" / "rl" / "model.safetensors").is_file()
