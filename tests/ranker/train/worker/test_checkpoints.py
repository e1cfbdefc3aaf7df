"""Checkpoints that count once they are complete, and runs that go on from them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import polars as pl
import psutil

from ranker.train import job
from tests.full_length import at_full_length, length
from tests.ranker.train.jobs import counts, owner, start_from, step, tiny, wait_for, write_job

KILLS = length(
    [("GRPO", 7, 0, "flow")],
    [("SFT", 67, 0, "trainer"), ("GRPO", 7, 0, "flow"), ("GRPO", 15, 4, "trainer")],
)
"""Phase, the step at whose beat somebody is killed, the checkpoint from which the run that is killed there
began the phase, and who is killed.
"""
SAVED = {"SFT": ("sft", 20), "GRPO": ("rl", 4)}
"""A phase's folder, and after how many steps each of its checkpoints comes."""


@at_full_length
def test_killed_again_and_again_between_checkpoints_a_training_ends_as_if_it_had_not_been(
    tmp_path: Path, undisturbed: tuple[Path, Path, dict[str, int]]
) -> None:
    """The same steps, every logged value once and the same, the same rollouts, the same weights to the last
    bit: data order, optimizer and random numbers go on where the checkpoint left them, each time. One job
    for all kills: one way to the end, not one a kill.
    """
    params = tiny()
    folder = write_job(tmp_path, params)
    if KILLS[0][0] != "SFT":  # which nothing disturbs then
        start_from(undisturbed, tmp_path, folder)
    for phase, at, begun, who in KILLS:
        (folder / "heartbeat.json").unlink(missing_ok=True)  # of the run before
        flow, seen = owner(folder), {at}

        def there(phase: str = phase, at: int = at, seen: set[int] = seen) -> bool:
            now = step(folder, phase)
            if now >= 0:
                seen.add(now)
            return now >= at

        wait_for(there, f"{phase} step {at}")
        trainer = psutil.Process(json.loads((folder / "heartbeat.json").read_text())["pid"])
        (trainer if who == "trainer" else flow).send_signal(signal.SIGKILL)
        assert flow.wait() != 0
        wait_for(lambda trainer=trainer: _gone(trainer), "the trainer to leave, orphaned or killed")
        assert min(seen) >= begun, "it went on from its last checkpoint"
    job.launch(folder, params, lambda text: None)
    assert counts(tmp_path, folder) == undisturbed[2]
    (tables, details), (calm, _) = (
        job.collect(tmp_path, folder, "k"),
        job.collect(undisturbed[0], undisturbed[1], "k"),
    )
    for phase, at, *_ in KILLS:
        name, every = SAVED[phase]
        assert details[name]["resumed_from"] >= at // every * every
    assert logged(tables).equals(logged(calm))
    assert rollouts(tables).equals(rollouts(calm))
    for trained in ("sft", "rl"):
        ends = [
            (home / "models" / "k" / trained / "model.safetensors").read_bytes()
            for home in (tmp_path, undisturbed[0])
        ]
        assert ends[0] == ends[1], trained


def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


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
