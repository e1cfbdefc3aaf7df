"""What every phase of training has in common; whole phases run in the tests of `phases` and `likelihood`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import polars as pl
import torch
from transformers import TrainingArguments

from ranker.train.worker import phase_run
from ranker.train.worker.job import Job
from tests.ranker.engines.models import tiny as tiny_model
from tests.ranker.train.jobs import tiny, write_job


def test_every_trainer_is_given_what_transformers_knows(tmp_path: Path) -> None:
    job = Job.read(write_job(tmp_path, tiny()) / "job.json")
    known = {field.name for field in fields(TrainingArguments)}
    for phase, params in (("sft", job.params.sft), ("rl", job.params.grpo)):
        given = phase_run.shared(job, phase, params)
        assert set(given) <= known and given["output_dir"] == str(job.folder / phase)
        assert (given["max_steps"], given["seed"]) == (params.max_steps, params.seed)
        assert given["warmup_steps"] * 10 <= params.max_steps


def test_a_phase_is_done_when_its_folder_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    job = Job.read(write_job(tmp_path, tiny()) / "job.json")
    assert not phase_run.done(job, "sft")
    model, tokenizer = phase_run.load(tiny_model(tmp_path / "model"))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    fitted = {"likelihood": {"synthetic": {"temperature": 2.0}}}
    phase_run.save(job, "sft", model, tokenizer, {"steps": 3}, fitted)
    assert phase_run.done(job, "sft") and not phase_run.done(job, "rl")
    written = json.loads((job.model("sft") / "ranker.json").read_text(encoding="utf-8"))
    described = phase_run.manifest(job, "sft", model, {"steps": 3}) | fitted
    assert described.items() <= written.items() and written["parameters"] == model.num_parameters()


def test_a_curve_has_every_value_once_and_numbers_alone() -> None:
    logged = [
        {"step": 5, "loss": 2.0, "note": "no figure"},
        {"step": 10, "loss": 1.0, "reward": 1},
        {"step": 10, "loss": 1.5, "train_runtime": 9.0},  # the closing summary
    ]
    rows = phase_run._metrics(logged, "sft")
    assert rows.rows() == [
        ("sft", 5, "loss", 2.0),
        ("sft", 10, "reward", 1.0),
        ("sft", 10, "loss", 1.5),
        ("sft", 10, "train_runtime", 9.0),
    ]
    assert rows.schema["step"] == pl.Int32
