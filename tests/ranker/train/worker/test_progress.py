"""How far a training is, as the flow and people read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from ranker.progress import remaining
from ranker.train.curves import lines
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.progress import CurveFile, HeartbeatCallback


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "about 5 s left"), (89, "about 89 s left"), (150, "about 2 min left")]
)
def test_short_times_are_told_in_seconds(seconds: float, said: str) -> None:
    assert remaining(seconds) == said


def test_every_step_beats_with_the_newest_figures_and_only_the_first_process_speaks(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    called = HeartbeatCallback(Heartbeat(path), "RL")
    state = TrainerState(global_step=4, max_steps=10)
    given = (TrainingArguments(output_dir=str(tmp_path)), state, TrainerControl())
    called.on_train_begin(*given)  # as a run that goes on from step 4
    state.global_step, state.is_world_process_zero = 5, False
    called.on_step_end(*given)
    assert not path.exists()
    state.is_world_process_zero = True
    state.log_history = [{"loss": 9.0, "step": 3}, {"loss": 0.25, "reward": 0.5, "grad_norm": 7.0, "step": 5}]
    called.on_step_end(*given)
    text = json.loads(path.read_text())["text"]
    assert re.fullmatch(r"RL step 5 of 10: loss 0\.250, reward 0\.500; [\d.,]+/s, about \d+ s left", text)


def test_a_curve_goes_on_behind_the_checkpoint_that_a_run_goes_on_from(tmp_path: Path) -> None:
    curve, state = CurveFile(tmp_path / "curves-sft.jsonl"), TrainerState(is_world_process_zero=True)
    arguments = TrainingArguments(output_dir=str(tmp_path))
    curve.start(0)
    for state.global_step in (5, 10, 15):
        given = {"loss": 1.0 / state.global_step, "note": "none", "bad": float("nan")}
        curve.on_log(arguments, state, TrainerControl(), logs=given)
    curve.start(10)
    assert list(lines(curve.path)) == [{"loss": 0.2, "step": 5}, {"loss": 0.1, "step": 10}]
    curve.start(0)
    assert not list(lines(curve.path))
