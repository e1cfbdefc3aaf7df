"""The phases of training: what a reward sees, and which rewards there are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.config import GRPOParams
from ranker.errors import BadConfig
from ranker.policy.rewards import Answer
from ranker.train import job
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Rollout
from tests.ranker.train.jobs import start_from, tiny, write_job

ROW = {
    "set_id": "s",
    "task": "synthetic",
    "pool": ["A", "B", "C"],
    "mode": "exclude",
    "thinking": True,
    "prompt": "?",
    "relevance": [2.0, 0.0, 4.0],
}


def earned(thought: str, params: GRPOParams, style="compact", **row: object) -> Rollout:
    return phases._rollout(
        ROW | row, f"<think> {thought} </think> <answer> B </answer>", False, params, style
    )


@pytest.mark.parametrize(("kind", "follows"), [("ranking", True), ("blind", False)])
def test_the_blind_reward_does_not_see_the_relevance(kind, follows):
    params = tiny(grpo={"reward": kind}).grpo
    one, other = (
        earned("A 2 B 0 C 4", params, relevance=grades).reward.total
        for grades in ([2.0, 0.0, 4.0], [0.0, 4.0, 2.0])
    )
    assert (one > other) == follows and (one == other) == (not follows)


def test_who_restates_nothing_is_not_better_off_than_who_reasons():
    """Not even than one whose grades are all wrong. And prose has no grades to be rewarded."""
    params = GRPOParams(trace_weight=0.5)
    silent, wrong, right = (earned(text, params).reward for text in ("", "A 2 B 4 C 0", "A 2 B 0 C 4"))
    assert silent.total <= wrong.total < right.total
    assert {earned(text, params, "chat").reward.total for text in ("", "A 2 B 4 C 0", "A 2 B 0 C 4")} == {
        right.format + right.task
    }


def unhelpful(answer: Answer) -> float:
    """A reward of a user's own, for tests: 1 for every answer that names A."""
    return float("A" in answer.text.split()) if answer.limit else float("nan")


def test_a_reward_of_ones_own_is_named_weighted_and_logged(tmp_path: Path, undisturbed) -> None:
    own = {f"{__name__}.unhelpful": 2.0, "ranker.policy.rewards.brevity": 0.5}
    params = tiny(grpo={"max_steps": 4, "learning_rate": 1e-12, "rewards": own})
    folder = write_job(tmp_path, params)
    start_from(undisturbed, tmp_path, folder)
    phases.rl(Job.read(folder / "job.json"), Heartbeat(folder / "heartbeat.json"))
    metrics = pl.read_parquet(folder / "metrics-rl.parquet")
    means = {
        name.split("/")[1] if "/" in name else name: part["value"].mean()
        for (name,), part in metrics.group_by("name")
        if name == "reward" or (name.startswith("rewards/") and name.endswith("/mean"))
    }
    assert set(means) == {"reward", "ranking_reward", "trace_reward", "unhelpful", "brevity"}
    assert -1 <= means["brevity"] <= 0 <= means["unhelpful"] <= 1
    parts = means["ranking_reward"] + means["trace_reward"]
    assert means["reward"] == pytest.approx(parts + 2 * means["unhelpful"] + 0.5 * means["brevity"], abs=1e-4)
    steps = pl.concat([pl.read_parquet(p) for p in job.collect(tmp_path, folder, "k")[0]["steps"]])
    recorded = (steps["reward_format"] + steps["reward_task"]).mean()
    assert recorded == pytest.approx(means["ranking_reward"], abs=0.2), "the ranking's own, as ever"


@pytest.mark.parametrize("path", ["nowhere.to.be_found", "ranker.policy.rewards.INVALID", "brevity"])
def test_a_reward_that_is_not_there_is_refused_before_anything_is_exported(lake, path):
    from ranker.refs import Ref
    from tests.ranker.material import passes

    sets = Ref(stage="candidates", key="s", snapshot=1, details={"tasks": {"synthetic": {}}})
    traces = Ref(stage="distill", key="t", snapshot=1)
    with pytest.raises(BadConfig, match=r"dotted path\n.*" + path.replace(".", r"\.")):
        job.run(lake, tiny(grpo={"rewards": {path: 1.0}}), sets=sets, traces=traces, check=passes)
    assert not (lake.home / "jobs").exists()
