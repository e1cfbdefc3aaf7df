"""A likelihood policy learns from orders and from rewards, not from blind ones; it never ends worse on
validation than it began; a killed training goes on as if nothing had been.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from random import Random

import polars as pl
import pytest
from safetensors.torch import load_file

from ranker.config import TrainParams, parse_params
from ranker.engines import load
from ranker.lake.candidate_sets import to_frame
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.train.worker import likelihood
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.likelihood import Query, in_turn
from ranker.types import CandidateSet
from tests.ranker.factories import make_set
from tests.ranker.material import tiny_lm
from tests.ranker.strategies.policies import SAMPLING
from tests.ranker.train.jobs import owner, step, wait_for


def pools(n: int, seed: int) -> list[CandidateSet]:
    """Relevant is the candidate with a0 in its text, wherever it is shown."""
    rng, made = Random(seed), []
    for i in range(n):
        best, texts = rng.randrange(4), []
        for place in range(4):
            words = rng.sample([f"a{k}" for k in range(1, 12)], 3)
            texts.append(" ".join(["a0", *words[1:]] if place == best else words))
        given = make_set(
            [float(k == best) for k in range(4)], set_id=f"{seed}-{i}", texts=texts, query=f"b{i % 12}"
        )
        made.append(replace(given, split="train"))
    return made


def params(**train: object) -> TrainParams:
    sft = {"max_steps": 0, "save_steps": 10, "per_device_train_batch_size": 8, "learning_rate": 3e-3}
    rl = {"max_steps": 40, "save_steps": 10, "per_device_train_batch_size": 8, "learning_rate": 3e-3}
    base = {
        "policy": {"style": "likelihood", "model_name_or_path": "lm"} | train.pop("policy", {}),  # type: ignore[operator]
        "sft": sft | train.pop("sft", {}),  # type: ignore[operator]
        "likelihood": rl | train.pop("likelihood", {}),  # type: ignore[operator]
        "eval_queries": 40,
        "threads": 1,
    }
    return parse_params({"preset": "tiny", "evaluate": {"thinking": [False]}, "train": base | train}).train


def write_job(home: Path, given: TrainParams) -> Path:
    """The files that `job.export` writes, from made-up sets instead of a lake."""
    folder = home / "jobs" / "k"
    folder.mkdir(parents=True)
    tiny_lm(home / "lm", seed=1)
    train, valid = pools(64, 1), pools(40, 2)
    to_frame(train).write_parquet(folder / "sets.parquet")
    to_frame(valid).write_parquet(folder / "valid.parquet")
    orders = [
        {
            "set_id": one.set_id,
            "pool": list(one.labels),
            "action": sorted(one.labels, key=lambda x: -one.relevance[x]),
        }
        for one in train
    ]
    pl.DataFrame(orders).write_parquet(folder / "orders.parquet")
    job = {"key": "k", "params": given.model_dump(mode="json"), "tasks": ["synthetic"]}
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def trained(home: Path, given: TrainParams) -> Job:
    return phases(write_job(home, given))


def phases(folder: Path, beats: type[Heartbeat] = Heartbeat) -> Job:
    """All phases of a job that are not done yet, in this process."""
    found = Job.read(folder / "job.json")
    heartbeat = beats(found.folder / "heartbeat.json")
    for phase in (likelihood.untrained, likelihood.sft, likelihood.rl):
        phase(found, heartbeat)
    return found


def mrr(found: Job, phase: str) -> float:
    """On pools that nobody has seen."""
    test = pools(60, 3)
    episodes = strategy("iterative")(test, load(found.model(phase)), thinking=False, sampling=SAMPLING)
    rows = judged(episodes, {one.set_id: one for one in test}, Origin("evaluate", "m", phase, 0))
    return float(rows["episodes"]["rr"].mean())  # type: ignore[arg-type]


def manifest(found: Job, phase: str) -> dict:
    return json.loads((found.model(phase) / "ranker.json").read_text())


@pytest.fixture(scope="module")
def by_rewards(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return trained(tmp_path_factory.mktemp("rewards"), params())


def test_rewards_alone_teach_what_is_relevant(by_rewards: Job) -> None:
    assert mrr(by_rewards, "untrained") < 0.75
    assert mrr(by_rewards, "rl") > 0.9


def test_validation_gives_signs_of_life(tmp_path: Path) -> None:
    """All of it may take longer than a trainer may be silent: on a busy machine it did."""
    heard: list[str] = []

    class Heard(Heartbeat):
        def beat(self, text: str) -> None:
            heard.append(text)

    phases(write_job(tmp_path, params(likelihood={"max_steps": 10})), Heard)
    far = [f"{done} of 40 validation queries are ranked" for done in (0, 32)]
    for of in ("untrained policy", "RL step 10 of 10"):
        assert [text for text in heard if text.startswith(f"{of}: ") and "validation" in text] == [
            f"{of}: {text}" for text in far
        ]


def test_orders_alone_teach_it_too(tmp_path: Path) -> None:
    found = trained(tmp_path, params(sft={"max_steps": 40}, likelihood={"max_steps": 0}))
    assert mrr(found, "sft") > 0.9
    assert mrr(found, "rl") == mrr(found, "sft")


@pytest.mark.parametrize("objective", ["sampled", "gold"])
def test_the_other_objectives_teach_it(tmp_path: Path, objective: str) -> None:
    assert mrr(trained(tmp_path, params(likelihood={"objective": objective})), "rl") > 0.9


@pytest.mark.parametrize("best", [True, False], ids=["best", "last"])
def test_blind_rewards_teach_nothing(tmp_path: Path, best: bool) -> None:
    found = trained(tmp_path, params(likelihood={"reward": "blind", "load_best_model_at_end": best}))
    assert mrr(found, "rl") < 0.75


def test_the_last_checkpoint_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    """However bad it is; its figures, and what is fitted to it, are its own."""
    worse = {"reward": "blind", "learning_rate": 0.1, "max_steps": 10, "load_best_model_at_end": False}
    found = trained(tmp_path, params(likelihood=worse))
    facts = manifest(found, "rl")["facts"]
    own, start = (load_file(found.model(phase) / "model.safetensors") for phase in ("rl", "untrained"))
    assert any((own[name] != start[name]).any() for name in start)
    assert "best_step" not in facts
    assert facts["rr"] == curve(found, "eval_rr")[-1]


def test_no_phase_ends_worse_on_validation_than_it_began(tmp_path: Path) -> None:
    found = trained(tmp_path, params(likelihood={"reward": "blind", "learning_rate": 0.1, "max_steps": 10}))
    facts = manifest(found, "rl")["facts"]
    assert facts["rr"] >= manifest(found, "untrained")["facts"]["rr"]
    if facts["best_step"] == 0:
        own, start = (load_file(found.model(phase) / "model.safetensors") for phase in ("rl", "untrained"))
        assert all((own[name] == start[name]).all() for name in start)


def test_only_the_last_layers_move_where_that_is_asked(tmp_path: Path) -> None:
    found = trained(tmp_path, params(policy={"num_trainable_layers": 1}))
    own, start = (load_file(found.model(phase) / "model.safetensors") for phase in ("rl", "untrained"))
    moved = {name for name in start if (own[name] != start[name]).any()}
    assert moved
    assert all(name.startswith(("model.layers.1.", "model.norm.")) for name in moved)


def test_adapters_are_merged_into_the_policy(tmp_path: Path) -> None:
    found = trained(tmp_path, params(policy={"lora_r": 4}, likelihood={"learning_rate": 2e-2}))
    assert not (found.model("rl") / "adapter_config.json").exists()
    assert mrr(found, "rl") > mrr(found, "untrained")


def test_a_divergence_that_weighs_everything_keeps_the_policy_where_it_was(
    tmp_path: Path, by_rewards: Job
) -> None:
    found = trained(tmp_path, params(likelihood={"beta": 1_000.0}, eval_queries=0))
    assert curve(found, "kl")[-1] < 0.02
    assert mrr(found, "rl") < mrr(by_rewards, "rl")


def curve(found: Job, name: str) -> list[float]:
    rows = pl.read_parquet(found.folder / "metrics-rl.parquet").filter(pl.col("name") == name)
    return rows.sort("step")["value"].to_list()


def test_the_reward_rises_and_curves_have_what_they_are_read_for(by_rewards: Job) -> None:
    reward = curve(by_rewards, "reward")
    assert reward[-1] > reward[0] + 0.1
    for name in ("entropy", "frac_reward_zero_std", "rr", "tokens", "eval_rr", "eval_rr_synthetic"):
        assert curve(by_rewards, name), name


def test_one_elimination_of_each_query_is_recorded(by_rewards: Job) -> None:
    steps = pl.concat(
        [pl.read_parquet(path) for path in sorted((by_rewards.folder / "rollouts").glob("steps-*"))]
    )
    episodes = pl.concat(
        [pl.read_parquet(path) for path in sorted((by_rewards.folder / "rollouts").glob("episodes-*"))]
    )
    assert episodes.height == 40 * 8
    assert steps.height == 3 * episodes.height
    assert episodes["episode_id"].is_unique().all()
    assert steps["log_likelihoods"].null_count() == steps["advantage"].null_count() == 0
    assert set(steps["temperature"]) == {0.25}
    assert steps["valid"].all()


def test_a_manifest_has_temperature_and_calibration(by_rewards: Job) -> None:
    own = manifest(by_rewards, "rl")["likelihood"]["synthetic"]
    assert own["queries"] == 40
    assert own["temperature"] > 0
    assert own["calibration"][0] > 0
    assert load(by_rewards.model("rl")).temperatures == {"synthetic": own["temperature"]}  # type: ignore[attr-defined]


def test_patience_ends_a_phase_early(tmp_path: Path) -> None:
    rl = {"reward": "blind", "learning_rate": 1e-9, "max_steps": 100}
    found = trained(tmp_path, params(likelihood=rl, early_stopping_patience=2))
    assert manifest(found, "rl")["facts"]["steps"] == 20


def test_tasks_are_mixed_within_every_step() -> None:
    queries = [
        Query(make_set([1, 0], set_id=f"{task}{i}", task=task))
        for task in ("synthetic", "vaswani")
        for i in range(9)
    ]
    drawn = in_turn(queries, {"vaswani": 2.0}, 24, seed=1)
    for start in range(0, 24, 3):
        assert sorted(query.set.task for query in drawn[start : start + 3]) == [
            "synthetic",
            "vaswani",
            "vaswani",
        ]
    first = [query.set.set_id for query in drawn if query.set.task == "vaswani"][:9]
    assert len(set(first)) == 9, "each once an epoch"
    assert not [
        query for query in in_turn(queries, {"synthetic": 0.0}, 9, 1) if query.set.task == "synthetic"
    ]


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    given = params(sft={"max_steps": 20}, likelihood={"max_steps": 60})
    folder = write_job(tmp_path / "killed", given)
    flow = owner(folder)
    wait_for(lambda: step(folder, "RL") >= 23, "RL step 23")
    os.kill(json.loads((folder / "heartbeat.json").read_text())["pid"], signal.SIGKILL)
    flow.wait()
    phases(folder)
    calm = trained(tmp_path / "calm", given).folder
    ends = [
        (home / "models" / "k" / "rl" / "model.safetensors").read_bytes()
        for home in (tmp_path / "killed", tmp_path / "calm")
    ]
    assert ends[0] == ends[1]
    written = [
        pl.concat([pl.read_parquet(path) for path in sorted((place / "rollouts").glob("steps-*"))]).sort(
            "episode_id", "step"
        )
        for place in (folder, calm)
    ]
    assert written[0].equals(written[1])
    resumed = json.loads((tmp_path / "killed" / "models" / "k" / "rl" / "ranker.json").read_text())["facts"]
    assert resumed["resumed_from"] >= 20
