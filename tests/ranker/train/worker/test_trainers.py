"""TRL's trainers as they are used here: losses, and copies in bf16 while they generate."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import get_args

import polars as pl
import pytest
import torch
from trl import GRPOTrainer

from ranker.config import LossType, parse_params
from ranker.engines.transformers import load_model
from ranker.errors import BadConfig
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.scale import bfloat16
from ranker.train.worker.trainers import advantages
from tests.ranker.engines.models import tiny as tiny_model
from tests.ranker.train.jobs import start_from, tiny, write_job
from tests.ranker.train.worker.phased import weights


def test_while_it_generates_a_model_has_bf16_copies_of_its_weights(tmp_path):
    model = load_model(tiny_model(tmp_path))
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.arange(6)[None]
    whole = model(ids).logits
    with pytest.raises(KeyError), bfloat16(model):
        half = model(ids).logits
        raise KeyError
    assert (
        half.dtype == torch.bfloat16
        and torch.allclose(half.float(), whole, atol=0.05)
        and not torch.equal(half.float(), whole)
    )
    assert all(
        value.dtype == torch.float32 and torch.equal(value, kept[name])
        for name, value in model.state_dict().items()
    )


def test_the_losses_offered_are_those_that_trl_computes():
    """From the comparisons in TRL's own loss, so that neither list can change alone."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(GRPOTrainer._compute_loss)))
    compared = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == "self.loss_type"
    ]
    known = {
        leaf.value
        for node in compared
        for side in node.comparators
        for leaf in ast.walk(side)
        if isinstance(leaf, ast.Constant)
    }
    assert set(get_args(LossType)) == known
    with pytest.raises(BadConfig, match="loss_type"):
        parse_params({"train": {"grpo": {"loss_type": "ppo"}}})


RIGHT, WRONG = 0.5, -0.5


def test_grades_alone_do_not_have_the_weight_of_a_ranking() -> None:
    """Two groups of four: all rank right and reason differently well; half of them rank wrong."""
    grades = torch.tensor([0.3, -0.3, 0.3, -0.3])
    alike = torch.stack([torch.full((4,), RIGHT), grades], 1)
    mixed = torch.stack([torch.tensor([RIGHT, RIGHT, WRONG, WRONG]), grades], 1)
    found = advantages(torch.cat([alike, mixed]), torch.tensor([1.0, 0.5]), 4).view(2, 4)
    assert torch.allclose(found[0], 0.5 * grades), "by GRPO's scaling ±0.87"
    assert torch.allclose(found[1], torch.tensor([0.866, 0.866, -0.866, -0.866]) + 0.5 * grades, atol=1e-3)
    # where the ranking is all there is, nothing differs from GRPO
    plain = torch.randn(6, 1)
    own = advantages(plain, torch.ones(1), 3).view(2, 3)
    grouped = plain.view(2, 3)
    trl = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(own, trl, atol=1e-5)


@pytest.mark.parametrize("loss", get_args(LossType))
def test_every_loss_trains_on_completions_used_twice(tmp_path, undisturbed, loss):
    grpo = {
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "save_steps": 4,
        "num_iterations": 2,
        "loss_type": loss,
        "epsilon_high": 0.28,
        "learning_rate": 1e-4,
        "importance_sampling_level": "sequence" if loss == "luspo" else "token",
        "gradient_accumulation_steps": 2,
    }
    params = tiny(grpo=grpo | {"load_best_model_at_end": False})
    folder = write_job(tmp_path, params)
    start_from(undisturbed, tmp_path, folder)
    found = Job.read(folder / "job.json")
    phases.rl(found, Heartbeat(folder / "heartbeat.json"))
    moved = weights(found, "rl")
    assert any(not torch.equal(moved[name], value) for name, value in weights(found, "sft").items())
    episodes = pl.concat([pl.read_parquet(path) for path in (folder / "rollouts").glob("episodes-*")])
    assert sorted(episodes["train_step"].unique()) == [0, 2] and len(episodes) == 2 * 16
