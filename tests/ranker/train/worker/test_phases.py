"""The phases of training: what a reward sees, and which rewards there are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ranker.config import GRPOParams
from ranker.engines import load, manifest
from ranker.engines.transformers import TransformersEngine
from ranker.errors import BadConfig
from ranker.policy.prompts import Prompt
from ranker.policy.rewards import Answer
from ranker.train import job
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Rollout
from tests.ranker.engines.test_families import ROWS, saved
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import NOTHING_TAUGHT, start_from, tiny, write_job

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


def chat_job(home: Path) -> Job:
    """A tiny Qwen3 whose prompts are longer than it may read, taught in prose."""
    saved(home / "models" / "q", ROWS["qwen3"])
    policy = {"model_name_or_path": "models/q", "style": "chat", "max_length": 560}
    few = {"max_steps": 2, "save_steps": 2}
    grpo = {"per_device_train_batch_size": 8, "max_completion_length": 10, "nothink_share": 0.5}
    params = tiny(
        policy=policy,
        sft={**few, "per_device_train_batch_size": 4},
        grpo={**few, **grpo, "loss_type": "dapo", "trace_weight": 0.0},
    ).model_copy(update={"eval_queries": 0})
    sets = [
        replace(given, query=f"{given.query} {'and more words ' * (20 * (place % 2))}")
        for place, given in enumerate(overlap_sets(16, pool=3))
    ]
    said = "<think> A and C fit. So the worst is B. </think> <answer> B </answer>"
    rows = [("synthetic", one.set_id, "exclude", True, list(one.labels), said) for one in sets]
    folder = home / "jobs" / "k"
    folder.mkdir(parents=True)
    traces = pl.DataFrame(rows, schema=[*job.ASKED, "completion"], orient="row")
    job.write(folder, sets, traces, job.rl_prompts(sets, NOTHING_TAUGHT, params.grpo))
    described = {"key": "k", "params": params.model_dump(mode="json"), "tasks": ["synthetic"]}
    (folder / "job.json").write_text(json.dumps(described))
    return Job.read(folder / "job.json")


def test_a_chat_model_is_trained_on_the_prompts_that_it_is_evaluated_with(tmp_path: Path) -> None:
    found = chat_job(tmp_path)
    for phase in (phases.untrained, phases.sft, phases.rl):
        phase(found, Heartbeat(found.folder / "heartbeat.json"))
    cut = manifest(found.model("sft"))["facts"]["fitted"]["synthetic"]
    assert cut["left_out"] == 0 < cut["shortened"] < cut["prompts"] == 8, "long queries are cut, and kept"
    tables = job.collect(tmp_path, found.folder, "k")[0]
    episodes, steps = (
        pl.concat([pl.read_parquet(p) for p in tables[name]]) for name in ("episodes", "steps")
    )
    engine, sets = load(found.model("rl"), batch=8), found.sets()
    assert isinstance(engine, TransformersEngine) and len(steps) == 16
    renderer, budget = engine._renderer, found.params.policy.max_length - 10
    both = steps.join(episodes.select("episode_id", "set_id", "thinking"), on="episode_id")
    for row in both.iter_rows(named=True):
        asked = Prompt(row["mode"], row["thinking"], sets[row["set_id"]].keep(row["pool"]))
        assert row["prompt"] == renderer.prompts([asked], budget).texts[0]
        assert row["prompt"].endswith("</think>\n\n") == (not row["thinking"])
        assert row["prompt_tokens"] == len(renderer.prompts([asked], budget).ids[0])
    assert set(both["thinking"]) == {True, False}


@pytest.mark.parametrize("path", ["nowhere.to.be_found", "ranker.policy.rewards.INVALID", "brevity"])
def test_a_reward_that_is_not_there_is_refused_before_anything_is_exported(lake, path):
    from ranker.refs import Ref
    from tests.ranker.material import passes

    sets = Ref(stage="candidates", key="s", snapshot=1, details={"tasks": {"synthetic": {}}})
    traces = Ref(stage="distill", key="t", snapshot=1)
    with pytest.raises(BadConfig, match=r"dotted path\n.*" + path.replace(".", r"\.")):
        job.run(lake, tiny(grpo={"rewards": {path: 1.0}}), sets=sets, traces=traces, check=passes)
    assert not (lake.home / "jobs").exists()
