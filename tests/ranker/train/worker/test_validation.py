"""Validation of policies that write: which checkpoint a phase ends with, and what its curves tell."""

from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from ranker.config import TrainParams
from ranker.engines import Sampling
from ranker.engines.transformers import TransformersEngine, load_model, load_tokenizer
from ranker.policy.parsing import Reason
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from ranker.train.worker import phases, validation
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.validation import Answer, figures, means
from tests.ranker.engines.models import tiny as tiny_model
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import start_from, tiny, with_, write_job
from tests.ranker.train.worker.phased import trained, weights

SFT = {"max_steps": 12, "save_steps": 4, "per_device_train_batch_size": 16}
GRPO = {"max_steps": 6, "save_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4}
RUINOUS = 0.5
"""A learning rate at which every step makes the policy worse."""


def curve(job: Job, phase: str, name: str) -> dict[int, float]:
    rows = pl.read_parquet(job.folder / f"metrics-{phase}.parquet").filter(pl.col("name") == name)
    return dict(zip(rows["step"], rows["value"], strict=True))


def facts(job: Job, phase: str) -> dict:
    return json.loads((job.model(phase) / "ranker.json").read_text(encoding="utf-8"))["facts"]


def rr(job: Job, phase: str, params: TrainParams) -> float:
    """What the saved policy earns on the validation queries, by the engine of evaluation."""
    sets = job.validation()
    engine = TransformersEngine(job.model(phase), style="compact")
    limit = Sampling(params.grpo.max_completion_length)
    ranked = strategy("iterative")(sets, engine, thinking=True, sampling=limit)
    return means(validation._found(given, one)[:2] for given, one in zip(sets, ranked, strict=True))["rr"]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, undisturbed: tuple) -> tuple[Job, TrainParams]:
    """GRPO that ruins a policy which SFT has taught."""
    home = tmp_path_factory.mktemp("ruined")
    params = tiny(grpo=GRPO | {"learning_rate": RUINOUS})
    folder = write_job(home, params)
    start_from(undisturbed, home, folder)
    job = Job.read(folder / "job.json")
    phases.rl(job, Heartbeat(folder / "heartbeat.json"))
    return job, params


def test_where_every_checkpoint_is_worse_the_start_is_kept(taught: tuple[Job, TrainParams]) -> None:
    job, params = taught
    found = curve(job, "rl", "eval_rr")
    assert list(found) == [0, 2, 4, 6] and max(list(found.values())[1:]) < found[0]
    before, after = weights(job, "sft"), weights(job, "rl")
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert facts(job, "rl")["best_step"] == 0
    assert facts(job, "rl")["rr"] == found[0] == pytest.approx(rr(job, "rl", params))


def test_the_curves_tell_parts_of_the_reward_and_what_was_invalid(taught: tuple[Job, TrainParams]) -> None:
    job, _ = taught
    for prefix in ("", "eval_"):
        kinds = {kind: curve(job, "rl", f"{prefix}invalid/{kind}") for kind in Reason if kind}
        total, reward = curve(job, "rl", f"{prefix}invalid"), curve(job, "rl", f"{prefix}reward")
        parts = [curve(job, "rl", f"{prefix}reward/{part}") for part in ("format", "task", "trace")]
        assert max(total.values()) > 0.5, "the ruined policy writes nothing that can be read"
        for step, share in total.items():
            assert sum(found[step] for found in kinds.values()) == pytest.approx(share)
            assert sum(found[step] for found in parts) == pytest.approx(reward[step], abs=1e-5)
    assert curve(job, "rl", "eval_length") and curve(job, "rl", "entropy")


def test_sft_ends_with_its_best_checkpoint_and_without_validation_with_its_last(tmp_path) -> None:
    """Its first steps teach; those of a rate that then ruins are not kept."""
    params = tiny(sft=SFT | {"learning_rate": 3e-3}, grpo={"max_steps": 0})
    job = trained(tmp_path / "best", params, "sft")
    found = curve(job, "sft", "eval_rr")
    best = max(found, key=lambda step: (found[step], -step))
    assert facts(job, "sft")["best_step"] == best and facts(job, "sft")["rr"] == found[best]
    assert rr(job, "sft", params) == pytest.approx(found[best])
    last = trained(tmp_path / "last", with_(params, eval_queries=0), "sft")
    assert "best_step" not in facts(last, "sft") and not curve(last, "sft", "eval_rr")
    losses = [curve(one, "sft", "loss") for one in (job, last)]
    assert losses[0] == losses[1], "validation changes nothing of the training itself"


def test_a_phase_that_gets_no_better_stops_early(tmp_path, undisturbed) -> None:
    grpo = GRPO | {"max_steps": 20, "learning_rate": RUINOUS}
    params = with_(tiny(grpo=grpo, policy={"lora_r": 4}), early_stopping_patience=1)
    folder = write_job(tmp_path, params)
    start_from(undisturbed, tmp_path, folder)
    job = Job.read(folder / "job.json")
    phases.rl(job, Heartbeat(folder / "heartbeat.json"))
    assert facts(job, "rl")["steps"] < 20


def test_figures_are_means_and_shares() -> None:
    answers = [
        Answer("", 1.0, {"format": 0.0, "task": 1.0}, 10),
        Answer("no_think", -1.0, {"format": -1.0, "task": 0.0}, 30),
    ]
    found = figures(answers)
    assert (found["reward"], found["reward/task"], found["invalid"], found["length"]) == (0.0, 0.5, 0.5, 20)
    assert found["invalid/no_think"] == 0.5 and found["invalid/truncated"] == 0.0
    assert figures([]) == {} and means([]) == {}
    assert means([("a", 1.0), ("a", 0.0), ("b", 1.0)]) == {"rr": 0.75, "rr_a": 0.5, "rr_b": 1.0}


def test_validation_leaves_the_model_as_it_was(tmp_path) -> None:
    model = load_model(tiny_model(tmp_path))
    model.train()
    engine = TransformersEngine.around(model, load_tokenizer(tmp_path), style="compact", batch=4)
    engine.complete([Prompt("exclude", True, given) for given in overlap_sets(3)], Sampling(8))
    assert model.training
    model(torch.arange(5)[None], labels=torch.arange(5)[None]).loss.backward()
